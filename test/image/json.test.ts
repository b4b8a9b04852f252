import t from 'tap'
import { escapeText } from '../../src/byte-string.js'
import { isOcimountError } from '../../src/errors.js'
import { JsonNumber, parseJson, type JsonValue } from '../../src/image/json.js'
import { seededRandom, type Random } from '../helpers/random.js'

const utf8 = (text: string): Buffer => Buffer.from(text, 'utf8')
const parse = (text: string): JsonValue => parseJson(utf8(text), 'document')
const map = (...entries: [string, JsonValue][]): JsonValue => new Map(entries)

const VALUES: [string, JsonValue][] = [
  ['null', null],
  [' true\r\n\t', true],
  ['false', false],
  ['0', 0],
  ['-0', -0],
  ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ['-9007199254740991', Number.MIN_SAFE_INTEGER],
  ['""', ''],
  [String.raw`"\"\\\/\b\f\n\r\t"`, '"\\/\b\f\n\r\t'],
  [String.raw`"\u00e9\uD83D\uDE00 é😀"`, 'é😀 é😀'],
  ['"\u2028\u2029\ufeff\u007f"', '\u2028\u2029\ufeff\u007f'],
  ['[]', []],
  ['{}', map()],
  ['[[],{},[1,"a"]]', [[], map(), [1, 'a']]],
  ['{"a":{"b":[null]},"c":1}', map(['a', map(['b', [null]])], ['c', 1])],
  ['{"":0}', map(['', 0])],
]
for (const [text, value] of VALUES) {
  t.test(`parseJson() reads ${escapeText(text).slice(0, 60)}`, async (t) => {
    t.strictSame(parse(text), value)
  })
}

for (const literal of [
  '1.0',
  '1e3',
  '1E+3',
  '-1.5e-7',
  '9007199254740993',
  '1'.repeat(400),
  '0.0',
]) {
  t.test(
    `parseJson() keeps the number ${literal.slice(0, 20)} as it is written (A-042)`,
    async (t) => {
      t.strictSame(parse(literal), new JsonNumber(literal))
    },
  )
}

const INVALID: Record<string, string> = {
  'an empty document': '',
  'space alone': ' \n',
  'a second value': '{} {}',
  'a comment': '{} // no',
  'a trailing comma in an array': '[1,]',
  'a trailing comma in an object': '{"a":1,}',
  'a missing comma': '[1 2]',
  'a missing colon': '{"a" 1}',
  'a missing value': '{"a":}',
  'a name without quotes': '{a:1}',
  'single quotes': "{'a':1}",
  'an unclosed array': '[1',
  'an unclosed object': '{"a":1',
  'an unclosed string': '"abc',
  'a wrong end': '[1}',
  'the other wrong end': '{"a":1]',
  'a leading zero': '01',
  'a plus sign': '+1',
  'a bare minus': '-',
  'a bare fraction': '.5',
  'an empty fraction': '1.',
  'an empty exponent': '1e',
  'a version for a number': '1.0.0',
  hexadecimal: '0x10',
  NaN: 'NaN',
  Infinity: 'Infinity',
  undefined: 'undefined',
  'a word in upper case': 'True',
  'a word cut short': 'nul',
  'a control character in a string': '"a\u0001"',
  'a tab in a string': '"\t"',
  'a newline in a string': '"\n"',
  'an unknown escape': String.raw`"\x41"`,
  'a short unicode escape': String.raw`"\u12"`,
  'an escape at the end': '"\\',
  'a no-break space between tokens': '[1,\u00a02]',
  'a form feed between tokens': '[1,\f2]',
  'a NUL after the document': '{}\0',
  'half a surrogate pair (S-14)': String.raw`"\ud83d"`,
  'the other half (S-14)': String.raw`"\ude00\ud83d"`,
  'a name twice (A-061)': '{"config":1,"config":2}',
  'a name twice by another spelling (A-061)': String.raw`{"config":1,"\u0063onfig":2}`,
  'a name twice deep inside (A-061)': '[{"a":{"b":1,"c":2,"b":1}}]',
  '__proto__ twice (A-061, A-065)': '{"__proto__":1,"__proto__":2}',
}
for (const [name, text] of Object.entries(INVALID)) {
  t.test(`parseJson() refuses ${name}`, async (t) => {
    t.throws(() => parse(text), { code: 'IMAGE_INVALID', message: /^Cannot parse document: / })
  })
}

const NOT_UTF8: Record<string, Buffer> = {
  'a byte order mark (A-060)': utf8('\ufeff{}'),
  'UTF-16 with a byte order mark (A-060)': Buffer.from('\ufeff{}', 'utf16le'),
  'UTF-16 without one (A-060)': Buffer.from('{}', 'utf16le'),
  'Latin-1 (A-060)': Buffer.from('"é"', 'latin1'),
  'an overlong encoding (A-060)': Buffer.from('22c0af22', 'hex'),
  'an encoded surrogate (A-060)': Buffer.from('22eda0bd22', 'hex'),
  'UTF-8 cut short (A-060)': Buffer.from('22e282', 'hex'),
}
for (const [name, bytes] of Object.entries(NOT_UTF8)) {
  t.test(`parseJson() refuses ${name}`, async (t) => {
    t.throws(() => parseJson(bytes, 'document'), { code: 'IMAGE_INVALID' })
  })
}

t.test('parseJson() says at which byte it stopped', async (t) => {
  t.throws(() => parse('{"é":1,x}'), { message: 'Cannot parse document: unexpected "x" at byte 8' })
  t.throws(() => parse('[1'), { message: 'Cannot parse document: it ends too early at byte 2' })
  t.throws(() => parse('{"a":1,"a":2}'), {
    message: 'Cannot parse document: name "a" occurs twice in one object at byte 7',
  })
})

t.test('parseJson() gives names of prototypes as ordinary names (A-065)', async (t) => {
  const value = parse('{"__proto__":{"polluted":1},"constructor":2,"prototype":3,"toString":4}')
  t.strictSame(
    value,
    map(['__proto__', map(['polluted', 1])], ['constructor', 2], ['prototype', 3], ['toString', 4]),
  )
  t.notOk('polluted' in {})
})

t.test('parseJson() does not mind order and white space (A-066)', async (t) => {
  t.strictSame(parse('{"a":1,"b":[2]}'), parse('\n{\t"a" :\r\n1 , "b" : [ 2 ] } '))
  const reordered = parse('{"b":[2],"a":1}') as Map<string, JsonValue>
  t.strictSame(reordered.get('a'), 1)
})

t.test('parseJson() caps depth without recursion (A-069)', async (t) => {
  const nest = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
  t.ok(parse(nest(128)))
  t.throws(() => parse(nest(129)), { code: 'LIMIT_EXCEEDED', message: /nests deeper than 128/ })
  t.throws(() => parse('['.repeat(100_000)), { code: 'LIMIT_EXCEEDED' })
  t.throws(() => parse('{"a":'.repeat(100_000)), { code: 'LIMIT_EXCEEDED' })
  const deep = parseJson(utf8(nest(200_000)), 'document', { maxDepth: 200_000 })
  t.ok(Array.isArray(deep))
})

t.test('parseJson() caps the size before it decodes (A-069, A-110)', async (t) => {
  const text = `"${'x'.repeat(98)}"`
  t.ok(parseJson(utf8(text), 'document', { maxSize: 100 }))
  t.throws(() => parseJson(utf8(`${text} `), 'document', { maxSize: 100 }), {
    code: 'LIMIT_EXCEEDED',
    message: 'Cannot parse document: it is larger than 100 bytes',
  })
})

t.test('parseJson() caps the number of values (A-069)', async (t) => {
  t.ok(parseJson(utf8('[1,2,3]'), 'document', { maxValues: 4 }))
  t.throws(() => parseJson(utf8('[1,2,3]'), 'document', { maxValues: 3 }), {
    code: 'LIMIT_EXCEEDED',
  })
  t.throws(() => parse(`[${'{},'.repeat(1_000_000)}{}]`), { code: 'LIMIT_EXCEEDED' })
  const items = { name: 'items', take: (): void => undefined }
  const read = (text: string): unknown => parseJson(utf8(text), 'document', { maxValues: 6 }, items)
  t.ok(read('{"before":1,"items":[1,2,3,4,[5,6],7,8,9],"behind":[1]}'))
  t.throws(() => read('{"items":[1,[2,3,4,5]]}'), { code: 'LIMIT_EXCEEDED' })
  t.throws(() => read('{"items":[1],"others":[2,3,4,5]}'), { code: 'LIMIT_EXCEEDED' })
})

t.test('parseJson() agrees with JSON.parse() on random and on broken documents', async (t) => {
  const random = seededRandom(t, 20_260_101)
  let accepted = 0
  for (let round = 0; round < 20_000; round++) {
    const sound = randomText(random, 0)
    // Through bytes, so that both readers see the same text where it was cut between surrogates.
    const text = utf8(random.below(2) === 0 ? sound : mutate(random, sound)).toString('utf8')
    const theirs = attempt(() => JSON.parse(text) as unknown)
    const ours = attempt(() => parse(text))
    if (ours.error !== undefined) {
      if (!isOcimountError(ours.error, 'IMAGE_INVALID')) {
        t.fail(`not an OcimountError for ${JSON.stringify(text)}`, { error: ours.error })
        return
      }
      if (theirs.error === undefined && !isExtraRule(ours.error.message)) {
        t.fail(`refused ${JSON.stringify(text)}`, { error: ours.error })
        return
      }
    } else {
      accepted++
      if (theirs.error !== undefined || !isEqual(ours.value as JsonValue, theirs.value)) {
        t.fail(`read ${JSON.stringify(text)} otherwise`, { ours, theirs })
        return
      }
    }
  }
  t.ok(accepted > 5000, `${accepted} documents were accepted`)
})

t.test('parseJson() throws nothing but OcimountError on random bytes', async (t) => {
  const random = seededRandom(t, 20_260_102)
  for (let round = 0; round < 5000; round++) {
    const bytes = utf8(randomText(random, 0))
    for (let change = random.below(4); change >= 0; change--) {
      bytes[random.below(bytes.length)] = random.below(256)
    }
    const { error } = attempt(() => parseJson(bytes, 'document'))
    if (error !== undefined && !isOcimountError(error, 'IMAGE_INVALID', 'LIMIT_EXCEEDED')) {
      t.fail(`wrong error for ${bytes.toString('hex')}`, { error })
      return
    }
  }
  t.pass('every error was one')
})

/** What is refused although JSON.parse() takes it; each has a row of its own above. */
function isExtraRule(message: string): boolean {
  return /occurs twice in one object|half a surrogate pair|byte order mark/.test(message)
}

function attempt<T>(run: () => T): { value?: T; error?: unknown } {
  try {
    return { value: run() }
  } catch (error) {
    return { error }
  }
}

function isEqual(ours: JsonValue, theirs: unknown): boolean {
  if (ours instanceof JsonNumber) return Object.is(Number(ours.literal), theirs)
  if (Array.isArray(ours)) {
    return (
      Array.isArray(theirs) &&
      theirs.length === ours.length &&
      ours.every((value, index) => isEqual(value as JsonValue, theirs[index]))
    )
  }
  if (ours instanceof Map) {
    const object = theirs as Record<string, unknown>
    const names = Object.keys(object)
    return (
      names.length === ours.size &&
      names.every((name) => ours.has(name) && isEqual(ours.get(name) as JsonValue, object[name]))
    )
  }
  return Object.is(ours, theirs)
}

const NAMES = ['a', 'b', 'layers', '__proto__', 'constructor', '', 'é', '😀', String.raw`\u0061`]
const NUMBERS = ['0', '-0', '12', '1.0', '1e3', '1E-2', '9007199254740993', '-1e400', '0.1e+1']
const STRINGS = [
  '',
  'x',
  'é😀',
  String.raw`\n\"\\`,
  String.raw`\ud83d\ude00`,
  String.raw`\ud83d`,
  '\u2028',
]
const SPACES = ['', '', '', ' ', '\n', '\t\r ']

const FRAGMENTS = '{ } [ ] " , : 0 - 1 . e E \\ u t n \ud83d \u0000 \ufeff'.split(' ').concat(' ')

function randomText(random: Random, depth: number): string {
  const kind = random.below(depth > 4 ? 4 : 8)
  const space = random.pick(SPACES)
  const end = random.pick(SPACES)
  return space + bare(random, kind, depth) + end
}

function bare(random: Random, kind: number, depth: number): string {
  if (kind === 0) return random.pick(['null', 'true', 'false'])
  if (kind === 1) return random.pick(NUMBERS)
  if (kind < 4) return `"${random.pick(STRINGS)}"`
  const items = Array.from({ length: random.below(4) }, () => randomText(random, depth + 1))
  if (kind < 6) return `[${items.join(',')}]`
  return `{${items.map((item) => `${random.pick(SPACES)}"${random.pick(NAMES)}":${item}`).join(',')}}`
}

function mutate(random: Random, text: string): string {
  const at = random.below(text.length + 1)
  switch (random.below(3)) {
    case 0:
      return text.slice(0, at) + text.slice(at + 1)
    case 1:
      return text.slice(0, at) + random.pick(FRAGMENTS) + text.slice(at)
    default:
      return text.slice(0, at)
  }
}
