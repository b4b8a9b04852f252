// What the addon makes of an eStargz or zstd:chunked table of contents, against the reader of every byte of JSON.

import { once } from 'node:events'
import { isDeepStrictEqual } from 'node:util'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { parseDigest } from '../../src/image/digest.js'
import type { ByteString } from '../../src/byte-string.js'
import type { LazyBlob, UnlistedFile } from '../../src/layer/lazy-layout.js'
import { readLazyToc, type LazyContents } from '../../src/layer/lazy-toc.js'
import { LAYOUT } from '../../src/layer/listed-table.js'
import { addon, addonSkipReason } from '../helpers/native-addon.js'
import { seededRandom, type Random } from '../helpers/random.js'

const skip = addonSkipReason()
const SHA = `sha256:${'5a'.repeat(32)}`
const BLOB: LazyBlob = {
  compression: 'gzip',
  digest: parseDigest(SHA),
  size: 100_000_000,
  contentEnd: 90_000_000,
}
/** As of zstd:chunked, and as eStargz has it. */
const FRAMES: LazyBlob = { ...BLOB, compression: 'zstd' }
const UNLISTED: UnlistedFile = {
  entry: { path: 'stargz.index.json' as ByteString, size: 4567 },
  compressedOffset: BLOB.contentEnd,
  innerOffset: 512,
  sha256: 'c3'.repeat(32),
}
/** Numbers of one entry, and in which of them there is its text where it is left. */
const ENTRY_NUMBERS = 15
const [TEXT_AT, TEXT_LENGTH] = [1, 2]
const WRITERS = [compact, indented]
/** Stands where an entry is to be. */
const MARK: Fields = [['MARK', '0']]
const MARKED = '{"MARK":0}'
/** What the thread without an addon runs. */
const WITHOUT = `
  const { parentPort, workerData } = require('node:worker_threads')
  const { modules, documents, blob, unlisted } = workerData
  const main = async () => {
    const [{ readLazyToc }, native] = await Promise.all(modules.map((url) => import(url)))
    const outcomes = []
    for (const json of documents) {
      const failed = ({ code, message }) => code + ': ' + message
      outcomes.push(await readLazyToc(Buffer.from(json), blob, unlisted).catch(failed))
    }
    parentPort.postMessage({ outcomes, reason: native.nativeUnavailableReason() })
  }
  main()
`

t.test('tables of both writers are the same with and without it', { skip }, async (t) => {
  const random = seededRandom(t)
  const documents: string[] = []
  for (let round = 0; round < 24; round++) {
    const hasOdd = round % 3 > 0
    const entries = randomEntries(random, round < 2 ? 6000 : 100, hasOdd ? 3 : 0)
    const document = random.pick(WRITERS)(entries)
    documents.push(document)
    const left = await leftOf(document)
    t.ok(left, `table ${round} is not left to others`)
    const most = hasOdd ? entries.length / 2 : 0
    t.ok((left?.length ?? 0) <= most, `of ${entries.length} entries ${left?.length} are left`)
  }
  for (const [blob, unlisted] of [[BLOB], [BLOB, UNLISTED], [FRAMES]] as const) {
    const outcomes = await bothWays(t, documents, 'a table', blob, unlisted)
    t.ok(
      outcomes.every((outcome) => typeof outcome !== 'string'),
      'all can be used',
    )
  }
})

t.test('every type of an ordinary entry is listed', { skip }, async (t) => {
  const types = ['dir', 'symlink', 'hardlink', 'char', 'block', 'fifo', 'reg', 'chunk']
  for (const write of WRITERS) {
    const entries = types.map((type) => ordinary(type === 'chunk' ? 'reg' : type, type))
    const halved = entries.map((fields): Fields => [...fields, ['chunkSize', '7']])
    const document = write(halved).replace(/("size": ?)7/, '$114')
    t.strictSame(await leftOf(document), [])
    await bothWays(t, [document], 'a table of all types')
  }
})

t.test('tables that are cut in half are refused the same', { skip }, async (t) => {
  const entries = Array.from({ length: 5000 }, (_, n) => ordinary(`d${n}`, 'dir'))
  const whole = compact(entries)
  const documents = [whole, whole.slice(0, whole.length / 2), whole.replace(']', ',]')]
  const outcomes = await bothWays(t, documents, 'a long table')
  t.equal(outcomes.filter((outcome) => typeof outcome !== 'string').length, 1)
})

t.test('what is not ordinary is left to the reader of JSON', { skip }, async (t) => {
  const around = (name: string): Fields[] =>
    Array.from({ length: 40 }, (_, n) => ordinary(`${name}${n}`, n % 2 === 0 ? 'reg' : 'symlink'))
  const [before, behind] = [around('before'), around('behind')]
  const documents: string[] = []
  let left = 0
  for (const odd of ODD) {
    const ways = WRITERS.map((write) => write([...before, MARK, ...behind]))
    ways.push(compact([MARK, ...behind]), compact([...before, MARK]), indented([MARK]))
    // A function, as `$` would mean something in a string.
    documents.push(...ways.map((text) => text.replace(MARKED, () => odd)))
    const texts = await leftOf(documents.at(-5) ?? '')
    if (texts === undefined) continue
    if (texts.join() !== odd) t.fail(`${odd}: ${texts.join()} are left`)
    left++
  }
  t.ok(left > 15, `${left} of ${ODD.length} are left to the reader, all around them is listed`)
  const outcomes = await bothWays(t, documents, 'odd')
  const good = outcomes.filter((outcome) => typeof outcome !== 'string').length
  const middling = good > documents.length / 8 && good < documents.length * 0.9
  t.ok(middling, `${good} of ${documents.length} can be used`)
})

t.test('every text of a time, number, name and digest means the same', { skip }, async (t) => {
  const texts: [string, readonly string[]][] = [
    ['modtime', TIMES.map((time) => JSON.stringify(time))],
    ['modtime', NUMBERS],
    ['digest', DIGESTS],
    ['chunkDigest', DIGESTS],
    ['chunkType', ['""', '"zeros"', '"data"', '"Zeros"', 'null', '0', '["zeros"]']],
    ...NUMBER_FIELDS.map((field): [string, readonly string[]] => [field, NUMBERS]),
    ...['name', 'linkName', 'type'].map((field): [string, readonly string[]] => [field, NAMES]),
    // What nobody reads has to be JSON all the same.
    ...['accesstime', 'userName', 'NumLink', 'other'].map((field): [string, string[]] => [
      field,
      [...NAMES, ...NUMBERS],
    ]),
  ]
  const documents = texts.flatMap(([field, values]) =>
    values.flatMap((value) =>
      ['reg', 'symlink', 'char'].map((type, n) => {
        const fields = ordinary('name', type).filter(([name]) => name !== field)
        const write = n === 0 ? indented : compact
        return write([ordinary('d', 'dir'), [...fields, [field, value]], ordinary('e', 'dir')])
      }),
    ),
  )
  const outcomes = await bothWays(t, documents, 'a text')
  t.ok(outcomes.filter((outcome) => typeof outcome !== 'string').length > documents.length / 5)
  t.ok(outcomes.filter((outcome) => typeof outcome === 'string').length > documents.length / 5)
})

t.test('what is around the entries means the same', { skip }, async (t) => {
  const outcomes = await bothWays(t, AROUND, 'around')
  t.ok(outcomes.filter((outcome) => typeof outcome !== 'string').length > 10)
})

t.test('a document that is cut at any byte is refused the same', { skip }, async (t) => {
  const entries = [
    ordinary('d', 'dir'),
    ordinary('f', 'reg'),
    [...ordinary('x', 'symlink'), ['xattrs', '{"user.a\\n":"AA=="}'] as const],
  ]
  for (const write of WRITERS) {
    const document = write(entries)
    const cuts = Array.from({ length: document.trimEnd().length }, (_, n) => document.slice(0, n))
    const outcomes = await bothWays(t, cuts, 'a cut')
    t.strictSame(
      outcomes.filter((outcome) => typeof outcome !== 'string'),
      [],
      'none can be used',
    )
  }
})

t.test('whatever bytes are changed, both ways say the same', { skip }, async (t) => {
  const random = seededRandom(t)
  const changed = Array.from({ length: 2000 }, () => changedTable(random, false))
  const outcomes = await bothWays(t, changed, 'a change')
  const good = outcomes.filter((outcome) => typeof outcome !== 'string').length
  t.ok(good > 100 && good < 1900, `${good} of 2000 can be used`)
})

t.test('a document that is not UTF-8 is nothing else', { skip }, async (t) => {
  const random = seededRandom(t)
  const changed = Array.from({ length: 500 }, () => changedTable(random, true))
  await bothWays(t, changed, 'a change')
})

t.test('limits hold, give or take what is around an entry', { skip }, async (t) => {
  const entry = (member: string): Fields => [...ordinary('d', 'dir'), ['x', member]]
  const documents = [125, 126, 127, 129].map((depth) =>
    compact([
      entry(`${'['.repeat(depth)}${']'.repeat(depth)}`),
      ...['e', 'f', 'g'].map((name) => ordinary(name, 'dir')),
    ]),
  )
  // Of 524288 values the document is one, and its version, the array, the entry, its other five fields and this one.
  for (const values of [524_278, 524_282]) {
    documents.push(compact([entry(`[${'0,'.repeat(values - 1)}0]`)]))
  }
  documents.push(compact([entry(JSON.stringify('x'.repeat(9 << 20)))]))
  const outcomes = await bothWays(t, documents, 'a limit')
  const isGood = outcomes.map((outcome) => typeof outcome !== 'string')
  t.strictSame(isGood, [true, false, false, false, true, false, true])
})

t.test('of two offences the same is told', { skip }, async (t) => {
  const bad = entryOf(ordinary('bad', 'door'))
  const batch = compact(Array.from({ length: 100 }, (_, n) => ordinary(`d${n}`, 'dir')))
  const documents: (string | Buffer)[] = [
    `{"version":1,"version":1,"entries":[${bad}]}`,
    `{"version":1,"Version":1,"entries":[${bad}]}`,
    `{"version":2,"entries":[${bad}]}`,
    `{"version":1,"entries":[${bad}],}`,
    `{"version":1,"entries":[${bad}],"entries":[]}`,
    `{"version":1,"entries":[${bad},{"name":"a","name":"a"}]}`,
    `{"version":1,"entries":[{"name":"a","name":"a"},${bad}]}`,
    batch.replace(']', () => `,${bad},!]`),
    batch.replace(']', () => `,!,${bad}]`),
    batch.replace('[', () => `[${bad},`).replace(']', ',!]'),
    batch.replace('[', () => `[${bad},`).replace(']', ',{"a":!}]'),
    // A file that ends where the document does.
    ...[
      ['{"version":2,"entries":[', ']}'],
      ['{"version":1,"entries":[', '],}'],
      ['{"version":1,"entries":[', '],"entries":[]}'],
    ].map(([before, behind]) => `${before}${entryOf(ordinary('../x', 'reg'))}${behind}`),
    Buffer.from(`{"version":1,"entries":[${bad},{"name":"\xff","type":"dir"}]}`, 'latin1'),
    Buffer.from(`{"version":1,"entries":[${bad}],"other":"\xff"}`, 'latin1'),
  ]
  await bothWays(t, documents, 'two offences')
})

t.test('an offence around the entries is told by its place without them', { skip }, async (t) => {
  const around = `{"version":1,"entries":[],!}`
  const document = around.replace('[', () => `[${entryOf(ordinary('d', 'dir'))}`)
  const where = `without its entries: unexpected "!" at byte ${around.indexOf('!')}`
  await t.rejects(readLazyToc(Buffer.from(document), BLOB), {
    message: `Cannot parse table of contents ${where}`,
  })
})

/** Names and the JSON of their values, in the order in which they are written. */
type Fields = readonly (readonly [name: string, value: string])[]

function entryOf(fields: Fields): string {
  return `{${fields.map(([name, value]) => `"${name}":${value}`).join()}}`
}

/** As buildah writes it. */
function compact(entries: readonly Fields[]): string {
  const tarSplit = `"tarSplitDigest":"${SHA}"`
  return `{"version":1,"entries":[${entries.map(entryOf).join()}],${tarSplit}}`
}

/** As Go's json.MarshalIndent() writes it for eStargz, with a tab. */
function indented(entries: readonly Fields[]): string {
  const all = entries.map((fields) => {
    const lines = fields.map(([name, value]) => `\t\t\t"${name}": ${value}`)
    return fields === MARK ? `\t\t${MARKED}` : `\t\t{\n${lines.join(',\n')}\n\t\t}`
  })
  return `{\n\t"version": 1,\n\t"entries": [\n${all.join(',\n')}\n\t]\n}\n`
}

function ordinary(name: string, type: string): Fields {
  const common = [
    ['name', JSON.stringify(name)],
    ['type', JSON.stringify(type)],
    ['modtime', '"2024-02-29T12:34:56Z"'],
    ['mode', '33188'],
    ['uid', '1000'],
  ] as const
  if (type === 'symlink' || type === 'hardlink') return [...common, ['linkName', '"target"']]
  if (type === 'char' || type === 'block') {
    return [...common, ['devMajor', '8'], ['devMinor', '17'], ['NumLink', '1']]
  }
  if (type === 'chunk') {
    return [...common.slice(0, 2), ['chunkOffset', '7'], ['chunkDigest', `"${SHA}"`]]
  }
  if (type !== 'reg') return common
  return [
    ...common,
    ['size', '7'],
    ['userName', '"root"'],
    ['offset', '100'],
    ['endOffset', '200'],
    ['digest', `"${SHA}"`],
    ['chunkDigest', `"${SHA}"`],
  ]
}

/** Entries that can be used; of `oddness` entries in 20 not all that is in them is ordinary. */
function randomEntries(random: Random, files: number, oddness: number): Fields[] {
  const entries: Fields[] = []
  for (let n = 0; n < files; n++) {
    const type = random.pick(['reg', 'reg', 'dir', 'symlink', 'hardlink', 'char', 'block', 'fifo'])
    const name = `${random.pick(['', './', 'usr/share/'])}f${n}${type === 'dir' ? '/' : ''}`
    const all: Fields[] = type === 'reg' ? randomFile(random, name) : [ordinary(name, type)]
    for (const fields of all) {
      const timed: Fields = fields.map(([field, value]) =>
        field === 'modtime' ? [field, JSON.stringify(randomTime(random))] : [field, value],
      )
      entries.push(random.below(20) < oddness ? oddly(random, timed) : timed)
    }
  }
  return entries
}

function randomFile(random: Random, name: string): Fields[] {
  const count = random.pick([1, 1, 1, 2, 5])
  // Some are large enough to have pieces for themselves.
  const chunkSize = 1 + random.below(random.pick([9000, 9000, 9000, 900_000]))
  const last = 1 + random.below(chunkSize)
  const size = (count - 1) * chunkSize + last
  const entries: Fields[] = []
  for (let n = 0; n < count; n++) {
    const isZeros = random.below(8) === 0
    const offset = random.below(80_000_000)
    const length = n < count - 1 ? chunkSize : random.pick([0, last])
    const start: Fields =
      n > 0
        ? [['chunkOffset', `${n * chunkSize}`]]
        : [
            ...ordinary(name, 'dir').slice(2),
            ['size', `${size}`],
            ['gid', `${random.below(2 ** 31)}`],
            ['digest', `"${SHA}"`],
          ]
    entries.push([
      ['type', n === 0 ? '"reg"' : '"chunk"'],
      ['name', JSON.stringify(name)],
      ...start,
      ['offset', `${offset}`],
      ['endOffset', n === count - 1 ? `${offset + random.below(9000)}` : '0'],
      ['innerOffset', `${random.pick([0, 0, random.below(3000)])}`],
      ['chunkSize', `${length}`],
      ['chunkDigest', isZeros ? '""' : `"sha256:${random.below(16).toString(16).repeat(64)}"`],
      ['chunkType', isZeros ? '"zeros"' : '""'],
    ])
  }
  return entries
}

function randomTime(random: Random): string {
  const two = (limit: number, least = 0): string =>
    `${least + random.below(limit - least)}`.padStart(2, '0')
  const year = random.pick([1970, 1999, 2000, 2024, 2038, 2100, 9999])
  const fraction = random.pick(['', '', '.5', '.000000001', '.25', '.123456789', '.000'])
  return random.below(20) === 0
    ? random.pick(['', '0001-01-01T00:00:00Z'])
    : `${year}-${two(13, 1)}-${two(29, 1)}T${two(24)}:${two(60)}:${two(60)}${fraction}Z`
}

/** Says the same, or something more, in another way. */
function oddly(random: Random, fields: Fields): Fields {
  const value = (of: string, odd: string): Fields =>
    fields.map(([name, value]) => [name, name === of ? odd : value])
  return random.pick<() => Fields>([
    () => [...fields, ['xattrs', '{"security.capability":"AQAAAgAgAAAAAAAAAAAAAAAAAAA="}']],
    () => [...fields, ['xattrs', '{}']],
    () => [...fields, ['xattrs', 'null']],
    () => [...fields, ['unknown', '{"a":[{"}":"]"},"\\"}",[]],"b":1.5e3}']],
    () => [...fields, ['Unknown', '-0']],
    () => value('modtime', '"2024-02-29T23:59:59.999999999+01:00"'),
    () => value('modtime', 'null'),
    () => value('modtime', '"1969-12-31T23:59:59.5Z"'),
    () => value('mode', '-0'),
    () => value('uid', '9007199254740991'),
    () => value('linkName', '"\\u0074\\/\xe9\u{1f600}\\n"'),
  ])()
}

/** One entry each, in the midst of others. */
const ODD: readonly string[] = [
  entryOf([...ordinary('a', 'dir'), ['linkNam\\u0065', '"t"']]),
  entryOf([...ordinary('a', 'reg'), ['xattrs', '{"user.a":"eHl6"}']]),
  entryOf([...ordinary('a', 'reg'), ['xattrs', '{"user.a":"*"}']]),
  entryOf([...ordinary('a', 'reg'), ['Size', '8']]),
  entryOf([...ordinary('a', 'reg'), ['\u017fize', '8']]),
  entryOf([...ordinary('a', 'reg'), ['size', '7']]),
  entryOf([...ordinary('a', 'reg'), ['userName', '"root"']]),
  entryOf([...ordinary('a', 'reg'), ['s\\u0069ze', '7']]),
  entryOf([...ordinary('a', 'reg'), ['unknown', 'true'], ['unknown', 'true']]),
  entryOf([...ordinary('a', 'reg'), ['entries', '[{}]']]),
  entryOf([...ordinary('a', 'reg'), ['', '[[[{}]]]']]),
  entryOf([...ordinary('a', 'reg'), ['x', '"}"']]),
  entryOf([...ordinary('a', 'reg'), ['x', '"\\"}"']]),
  entryOf([...ordinary('a', 'reg'), ['x', '"\\\\"']]),
  entryOf([...ordinary('a', 'reg'), ['x', '"]},{"']]),
  entryOf([...ordinary('a', 'reg'), ['x', '{"y":[}']]),
  entryOf([...ordinary('a', 'reg'), ['x', '[{]}']]),
  entryOf([...ordinary('a', 'reg'), ['x', '"\\ud83d"']]),
  entryOf([...ordinary('a', 'reg'), ['x', '"\\ud83d\\ude00"']]),
  entryOf([...ordinary('a', 'reg'), ['x', '"\\x"']]),
  entryOf([...ordinary('a', 'reg'), ['x', '"\t"']]),
  entryOf([...ordinary('a', 'reg'), ['x', '']]),
  entryOf([...ordinary('a', 'reg'), ['x', '+1']]),
  entryOf([
    ['name', 'null'],
    ['type', '"dir"'],
  ]),
  entryOf([['name', '"a"']]),
  entryOf([
    ['name', '"a"'],
    ['type', '""'],
  ]),
  entryOf([
    ['name', '"a"'],
    ['type', '"door"'],
  ]),
  entryOf([
    ['name', '"a"'],
    ['type', '"\\u0064ir"'],
  ]),
  entryOf([
    ['name', '"../a"'],
    ['type', '"fif\\u006f"'],
  ]),
  entryOf(ordinary('a\u{1f600}\xe9', 'dir')),
  entryOf(ordinary('a\ufffd', 'dir')),
  entryOf(ordinary('a\0', 'dir')),
  '{}',
  '{,}',
  '{"name":"a","type":"dir",}',
  '{"name":"a" "type":"dir"}',
  '{"name":"a","type" "dir"}',
  '{"name":"a",,"type":"dir"}',
  '{"name":"a","type":"dir" 1}',
  '{"name":"a","type":"dir"]}',
  '{"name":"a","type":"dir"/**/}',
  '{"name":"a","type":\v"dir"}',
  '{"name":"a","type":\xa0"dir"}',
  "{'name':'a'}",
  '{"name":"a","type":"dir"}}',
  '{"name":"a","type":"dir"',
  '{"name":"a","type":"dir"},',
  ',{"name":"a","type":"dir"}',
  '{"name":"a","type":"dir"} {"name":"b","type":"dir"}',
  '{"name":"a","type":"dir"}\0',
  'null',
  '7',
  '"x"',
  '[{"name":"a","type":"dir"}]',
  '[]',
  ']',
  '',
]

const TIMES: readonly string[] = [
  '',
  '0001-01-01T00:00:00Z',
  '0001-01-01T00:00:00.0Z',
  '0001-01-01T00:00:01Z',
  '0000-01-01T00:00:00Z',
  '1969-12-31T23:59:59Z',
  '1969-12-31T23:59:59.5Z',
  '1900-03-01T00:00:00Z',
  '1970-01-01T00:00:00Z',
  '1970-01-01T00:00:00.000000001Z',
  '2000-02-29T00:00:00Z',
  '2100-02-29T00:00:00Z',
  '2021-02-29T00:00:00Z',
  '2021-02-30T00:00:00Z',
  '2021-02-31T00:00:00Z',
  '2021-02-32T00:00:00Z',
  '2024-02-29T00:00:00Z',
  '2021-04-31T00:00:00Z',
  '2021-00-01T00:00:00Z',
  '2021-13-01T00:00:00Z',
  '2021-01-00T00:00:00Z',
  '2021-12-31T23:59:59Z',
  '2021-12-31T24:00:00Z',
  '2021-12-31T24:00:01Z',
  '2021-12-31T25:00:00Z',
  '2021-12-31T23:60:00Z',
  '2021-12-31T23:59:60Z',
  '9999-12-31T23:59:59.999999999Z',
  '10000-01-01T00:00:00Z',
  '+12021-01-01T00:00:00Z',
  '2021-01-01T00:00:00.Z',
  '2021-01-01T00:00:00.1Z',
  '2021-01-01T00:00:00.12345678Z',
  '2021-01-01T00:00:00.123456789Z',
  '2021-01-01T00:00:00.1234567899Z',
  '2021-01-01T00:00:00.999999999999999999999Z',
  '2021-01-01T00:00:00.-1Z',
  '2021-01-01T00:00:00.1 Z',
  '2021-01-01T00:00:00,5Z',
  '2021-01-01T00:00:00.5.5Z',
  '2021-01-01T00:00:00+01:00',
  '2021-01-01T00:00:00.25-23:59',
  '1970-01-01T00:00:00+14:00',
  '2021-01-01T00:00:00+24:00',
  '2021-01-01T00:00:00+01:0Z',
  '2021-01-01T00:00:00z',
  '2021-01-01t00:00:00Z',
  '2021-01-01 00:00:00Z',
  '2021-01-01T00:00:00',
  '2021-01-01T00:00Z',
  '2021-1-01T00:00:00Z',
  '2021-01-01T0:00:000Z',
  '2021-01-01T00:00:00ZZ',
  ' 2021-01-01T00:00:00Z',
  '2021/01/01T00:00:00Z',
  '-021-01-01T00:00:00Z',
  '2021-01-01T-1:00:00Z',
  'yesterday',
]

const NUMBERS: readonly string[] = [
  ...['0', '1', '7', '70', '007', '00', '-0', '-1', '-', '+1', '0.0', '1.5', '7.0', '.5', '1.'],
  ...['7e0', '7E+0', '70e-1', '1e999', '0x7', '7n', '7_0', '7 0', '7\t', ' 7', '7\v', 'NaN'],
  ...['999999999999999', '1000000000000000', '9007199254740991', '9007199254740992'],
  ...['9007199254740993', '1'.repeat(400), 'null', 'true', 'false', 'nul', '"7"', '""', '[]', '{}'],
  ...['[7]', '4294967295', '4294967296', '2147483648', '65536', '100', ''],
]
const NUMBER_FIELDS: readonly string[] = [
  ...['size', 'mode', 'uid', 'gid', 'devMajor', 'devMinor', 'offset', 'endOffset'],
  ...['innerOffset', 'chunkOffset', 'chunkSize'],
]
const NAMES: readonly string[] = [
  ...['"a"', '""', '"/"', '"."', '"./a"', '"a/"', '"/a//b/"', '".."', '"a/../b"', '".wh.a"'],
  ...['".wh..wh..opq"', '"a b\x7f!#[]{},:"', '"\xe9"', '"\\u00e9"', '"\\""', '"\\\\"', '"\\/"'],
  ...['"\\u0000"', '"\u2028"', '"\ufffd"', '"\\ufffd"', '"\n"', '"\0"', '"a', 'a', 'null', '7'],
  ...['"reg"', '"dir"', '"chunk"', '"hardlink"', '"Reg"', '"\\u0072eg"', '[]', '{"a":"}"}', '""a'],
  ...[JSON.stringify('n'.repeat(255)), JSON.stringify('n'.repeat(256)), '".prefetch.landmark"'],
  '"\\u002eprefetch.landmark"',
]
const DIGESTS: readonly string[] = [
  ...['""', 'null', '7', '"sha256:"', `"${SHA}"`, `"${SHA}a"`, `"${SHA.slice(0, -1)}"`],
  ...[`"${SHA.toUpperCase()}"`, `"${SHA.replace('a5', 'A5')}"`, `"${SHA.replace('a5', 'g5')}"`],
  ...[`"sha512:${'5a'.repeat(64)}"`, `"md5:${'5a'.repeat(16)}"`, `"sha512:${'5a'.repeat(32)}"`],
  ...[`"${SHA}\\n"`, `"\\u0073${SHA.slice(1)}"`, `" ${SHA}"`, `"${'5a'.repeat(32)}"`],
]

const AROUND: readonly string[] = [
  ...['', ' ', '{', '{}', '[]', '7', '"entries"', '{"entries":[]}', '{"version":1}', '\ufeff{}'],
  ...wrapped('{"version":1,"entries":[E]}'),
  ...wrapped(' \r\n\t{ "version" : 1 , "entries" : [ E ] } \n'),
  ...wrapped('\ufeff{"version":1,"entries":[E]}'),
  ...wrapped('{"entries":[E],"version":1}'),
  ...wrapped('{"a":"x","b":7,"entries":[E],"c":[{}],"version":1,"d":null}'),
  ...wrapped('{"a":["entries"],"b":{"entries":[1]},"entries":[E],"version":1}'),
  ...wrapped('{"a":{"entries":[E]},"version":1}'),
  ...wrapped('{"a":[E],"version":1}'),
  ...wrapped('{"version":1,"entries":[E],"entries":[E]}'),
  ...wrapped('{"version":1,"entries":null,"entries":[E]}'),
  ...wrapped('{"version":1,"entries":[E],"entries":null}'),
  ...wrapped('{"version":1,"entr\\u0069es":[E]}'),
  ...wrapped('{"version":1,"Entries":[E]}'),
  ...wrapped('{"version":1,"Entries":[E],"entries":[E]}'),
  ...wrapped('{"version":1,"entries":[E],"Entries":[E]}'),
  ...wrapped('{"version":1,"entries":{"a":[E]}}'),
  ...wrapped('{"version":1,"entries":{"a":E}}'),
  ...wrapped('{"version":1,"entries":[[E]]}'),
  ...wrapped('{"version":1,"a":"\\"entries\\":[","entries":[E]}'),
  ...wrapped('{"version":1,"a":"x entries:[{","entries":[E]}'),
  ...wrapped('{"version":1,"entries":[E],"a":"\\"entries\\":[{}]"}'),
  ...wrapped('{"version":1,"a":"\\\\","entries":[E]}'),
  ...wrapped('{"version":1,"":"entries","entries":[E]}'),
  ...wrapped('{"version":1,"version":1,"entries":[E]}'),
  ...wrapped('{"version":1,"entries":[E],"version":1}'),
  ...wrapped('{"version":1,"vers\\u0069on":1,"entries":[E]}'),
  ...wrapped('{"Version":1,"entries":[E]}'),
  ...['2', '1.0', '1e0', '01', '-1', 'null', '"1"', '[1]', '1 1', ''].flatMap((version) =>
    wrapped(`{"version":${version},"entries":[E]}`),
  ),
  ...['null', '7', '""', 'true', '{}', '', '[', '[[]]', '[null]', '[{}]', '[]]', '[,]'].flatMap(
    (entries) => [`{"version":1,"entries":${entries}}`, `{"entries":${entries},"version":1}`],
  ),
  ...[
    '{"version":1,"entries":[E,]}',
    '{"version":1,"entries":[,E]}',
    '{"version":1,"entries":[E,,E]}',
    '{"version":1,"entries":[E E]}',
    '{"version":1,"entries":[E}',
    '{"version":1,"entries":[E',
    '{"version":1,"entries":[E]',
    '{"version":1,"entries":[E],}',
    '{"version":1,"entries":[E]]}',
    '{"version":1,"entries":[E]}}',
    '{"version":1,"entries":[E]} x',
    '{"version":1,"entries":[E]}\0',
    '{"version":1,"entries":[E] "a":1}',
    '{"version":1,"entries":[E],"a"}',
    '{"version":1,"entries":[E],"a":}',
    '{"version":1 "entries":[E]}',
    '{"version":1,,"entries":[E]}',
    '{,"version":1,"entries":[E]}',
    '{"version":1,"entries" [E]}',
    '{"version":1,"entries"::[E]}',
    '{version:1,"entries":[E]}',
    '[{"version":1,"entries":[E]}]',
  ].flatMap(wrapped),
]

/** With one ordinary entry in place of E, with two, with one that is left to the reader of JSON, with none. */
function wrapped(text: string): string[] {
  const one = entryOf(ordinary('a', 'dir'))
  const odd = entryOf([...ordinary('b', 'dir'), ['xattrs', '{"user.a":"AA=="}']])
  return [one, `${one},${odd}`, odd, ''].map((entries) => text.replaceAll('E', () => entries))
}

/** Bytes that mean something in JSON, in a number or in a name. */
const TELLING = [...Buffer.from('{}[]:,"\\ \n\t019-+.eEnul/sT\x7f\0')]

/** A small table of which up to three bytes are others; it stays UTF-8 unless it may have any. */
function changedTable(random: Random, hasAnyBytes: boolean): Buffer {
  const entries = randomEntries(random, 1 + random.below(6), 3)
  const document = Buffer.from(random.pick(WRITERS)(entries))
  for (let change = random.below(3); change >= 0; change--) {
    const at = random.below(document.length)
    if (hasAnyBytes && random.below(3) === 0) document[at] = 128 + random.below(128)
    else if (hasAnyBytes || (document[at] ?? 0) < 128) document[at] = random.pick(TELLING)
  }
  return document
}

/** The text of each entry that the addon leaves to the reader of JSON; undefined where that is the whole table. */
async function leftOf(document: string): Promise<string[] | undefined> {
  const json = Buffer.from(document)
  const { size: blobSize, contentEnd } = BLOB
  const table = await addon().readLazyTable({
    ...{ json, layout: LAYOUT, endsEarly: true, blobSize, contentEnd, unlisted: undefined },
  })
  if (table === undefined) return undefined
  const left: string[] = []
  for (let at = 0; at < table.numbers.length; at += ENTRY_NUMBERS * 8) {
    const begin = table.numbers.readDoubleLE(at + TEXT_AT * 8)
    const length = table.numbers.readDoubleLE(at + TEXT_LENGTH * 8)
    if (length > 0) left.push(json.toString('utf8', begin, begin + length))
  }
  return left
}

type Outcome = LazyContents | string

/** Checks that a table of contents and a refusal are the same with and without the addon, and gives them. */
async function bothWays(
  t: Test,
  documents: readonly (string | Buffer)[],
  what: string,
  blob = BLOB,
  unlisted?: UnlistedFile,
): Promise<Outcome[]> {
  const all = documents.map((document) => Buffer.from(document))
  const without = await readWithout(t, { documents: all, blob, unlisted })
  const outcomes: Outcome[] = []
  for (const json of all) outcomes.push(structuredClone(await read(json, blob, unlisted)))
  t.equal(without.length, outcomes.length)
  let wrong = 0
  for (const [n, outcome] of outcomes.entries()) {
    const other = without[n]
    if (isSame(outcome, other)) continue
    wrong++
    const text = all[n]?.toString('latin1') ?? ''
    if (wrong <= 5) t.strictSame(outcome, other, `${what} ${n}: ${text.slice(0, 500)}`)
  }
  t.equal(wrong, 0, `${what}: of ${all.length} documents ${wrong} are not the same`)
  return outcomes
}

/** The addon finds an entry, and an offence in it is told by its place there. */
function isSame(outcome: Outcome, other: Outcome | undefined): boolean {
  if (typeof outcome !== 'string' || typeof other !== 'string') {
    return isDeepStrictEqual(outcome, other)
  }
  const [, before = '', entry = '', why = '', at = ''] = IN_ENTRY.exec(outcome) ?? []
  if (at !== '') return other === `${before}${why} at byte ${Number(entry) + Number(at)}`
  const bare = outcome.replace(ENTRY, '').replace(' without its entries', '')
  return bare.replace(PLACE, '') === other.replace(PLACE, '')
}

const IN_ENTRY = /^(.*)the entry at byte (\d+) of the (table of contents: .*) at byte (\d+)$/s
const ENTRY = /the entry at byte \d+ of the /
const PLACE = / at byte \d+$/

async function read(json: Buffer, blob: LazyBlob, unlisted?: UnlistedFile): Promise<Outcome> {
  try {
    return await readLazyToc(json, blob, unlisted)
  } catch (error) {
    const { code, message } = error as { code?: unknown; message: string }
    return `${String(code)}: ${message}`
  }
}

/** A thread has an environment and modules of its own, so that there is no addon in it. */
async function readWithout(t: Test, what: object): Promise<Outcome[]> {
  const modules = ['layer/lazy-toc.js', 'native.js'].map(
    (path) => new URL(`../../src/${path}`, import.meta.url).href,
  )
  const env = { ...process.env, OCIMOUNT_NATIVE: '0' }
  const workerData = { modules, ...what }
  const worker = new Worker(WITHOUT, { eval: true, env, workerData })
  const [{ outcomes, reason }] = (await once(worker, 'message')) as [
    { outcomes: Outcome[]; reason: unknown },
  ]
  t.equal(reason, 'switched off by OCIMOUNT_NATIVE')
  await worker.terminate()
  return outcomes
}
