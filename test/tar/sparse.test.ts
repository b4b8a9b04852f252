// The four forms of sparse files, and maps that lie.

import t from 'tap'
import { base256, buildTar, dir, file, header, pax, sparse } from '../helpers/build-tar.js'
import type { SparseFormat, SparsePiece } from '../helpers/build-tar.js'
import { contentOf, streamTar } from '../helpers/list-tar.js'
import { seededRandom } from '../helpers/random.js'

const FORMATS: readonly SparseFormat[] = ['gnu', '0.0', '0.1', '1.0']
const corrupt = (message: RegExp): { code: string; message: RegExp } => ({
  code: 'TAR_CORRUPT',
  message,
})

for (const format of FORMATS) {
  t.test(`TarParser reads sparse form ${format} (B-112…B-115)`, async (t) => {
    const random = seededRandom(t)
    for (const count of [0, 1, 3, 4, 5, 24, 25, 26, 46, 200]) {
      // A form without a single pair is no sparse file in 0.x, as in Go; GNU tar writes an empty one at the end.
      const pieces: SparsePiece[] = count === 0 ? [{ offset: 1_000_000, data: '' }] : []
      const want = Buffer.alloc(1_000_000)
      for (let at = random.below(3000); pieces.length < count; at += 1 + random.below(3000)) {
        const data = Buffer.alloc(1 + random.below(900), pieces.length + 1)
        pieces.push({ offset: at, data })
        data.copy(want, at)
        at += data.length
      }
      const archive = buildTar([
        file('before', 'b'),
        sparse('dir/name', want.length, pieces, format),
        file('after', 'a'),
      ])
      const { entries, notes } = streamTar(archive)
      t.strictSame(
        entries.map(({ path, type, size }) => [path, type, size]),
        [
          ['before', 'file', 1],
          ['dir/name', 'file', want.length],
          ['after', 'file', 1],
        ],
      )
      t.ok(contentOf(archive, entries[1]!).equals(want), `content of ${count} pieces`)
      t.equal(entries[1]!.sparse?.length, count, 'empty pieces are left out')
      t.equal(entries[1]!.headerOffset, 1024)
      t.strictSame(notes, [])
    }
  })

  t.test(`TarParser refuses a lying map of form ${format} (B-116, S-21)`, async (t) => {
    const data = [{ offset: 0, data: 'x'.repeat(100) }]
    const max = Number.MAX_SAFE_INTEGER
    const cases: [what: string, map: [number, number][], why: RegExp][] = [
      [
        'overlap',
        [
          [0, 60],
          [59, 40],
        ],
        /overlaps or is not in order/,
      ],
      [
        'not in order',
        [
          [500, 60],
          [0, 40],
        ],
        /overlaps or is not in order/,
      ],
      ['beyond the size', [[950, 100]], /beyond the file's 1000 bytes/],
      [
        'an empty one beyond the size',
        [
          [0, 100],
          [1001, 0],
        ],
        /beyond the file's 1000 bytes/,
      ],
      ['sum overflows', [[max, max]], /beyond the file's 1000 bytes/],
      ['too little', [[0, 99]], /covers 99 bytes, but 100 are stored/],
      ['too much', [[0, 101]], /covers 101 bytes, but 100 are stored/],
    ]
    for (const [what, map, why] of cases) {
      const lying = sparse('liar', 1000, data, format, { map })
      t.throws(() => streamTar(buildTar([lying])), corrupt(why), what)
      t.throws(() => streamTar(buildTar([lying])), { message: /^Cannot read tar entry "liar" at/ })
    }
  })

  t.test(`TarParser refuses a negative sparse size of form ${format}`, async (t) => {
    t.throws(
      () => streamTar(buildTar([sparse('neg', -5, [{ offset: 0, data: '' }], format)])),
      corrupt(/"neg".*size -5/),
    )
  })
}

t.test('TarParser counts segments against the cap on metadata (B-126)', async (t) => {
  const pieces = Array.from({ length: 10 }, (_, index) => ({ offset: index * 10, data: 'x' }))
  const archive = buildTar([sparse('s', 100, pieces, '1.0')])
  t.doesNotThrow(() => streamTar(archive, undefined, { maxMetadata: 1 + 48 * 10 }))
  t.throws(() => streamTar(archive, undefined, { maxMetadata: 48 * 10 }), {
    code: 'LIMIT_EXCEEDED',
  })
})

t.test('TarParser caps a map at 1 MiB (B-116, S-21)', async (t) => {
  const limit = { code: 'LIMIT_EXCEEDED', message: /"endless".*longer than 1048576 bytes/ }
  const lines = Buffer.from(`999999\n${'1\n0\n'.repeat(600_000)}`)
  const records = { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '5' }
  t.throws(() => streamTar(buildTar([file('endless', lines, { pax: records })])), limit)

  const rest = Buffer.alloc(167)
  rest[482 - 345] = 1
  const extension = Buffer.alloc(512)
  extension[504] = 1
  const blocks = Array.from({ length: 2100 }, () => extension)
  t.throws(
    () =>
      streamTar(Buffer.concat([header({ name: 'endless', type: 'S', rest }, 'gnu'), ...blocks])),
    limit,
  )
})

t.test('TarParser refuses maps that are malformed', async (t) => {
  const v1 = { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '9' }
  const one = (body: string): Buffer => file('bad', body.padEnd(512, '\0'), { pax: v1 })
  const zero = (records: Record<string, string>): Buffer => {
    return file('bad', '', { pax: { 'GNU.sparse.size': '9', ...records } })
  }
  const cases: [what: string, member: Buffer, why: RegExp][] = [
    ['1.0: no number', one('x\n'), /bad number/],
    ['1.0: negative', one('1\n-1\n0\n'), /bad number/],
    ['1.0: empty line', one('1\n\n0\n'), /bad number/],
    ['1.0: padding inside', one('1\n0\0\n0\n'), /bad number/],
    ['1.0: ends early', one('1\n0\n'), /bad number/],
    ['1.0: huge count', one(`${'9'.repeat(300)}\n`), /bad number/],
    ['1.0: huge offset', one(`1\n${'9'.repeat(30)}\n0\n`), /bad number/],
    ['1.0: no data at all', file('bad', '', { pax: v1 }), /longer than the data/],
    ['1.0: data shorter than a block', file('bad', '0\n', { pax: v1 }), /longer than the data/],
    ['0.1: count', zero({ 'GNU.sparse.numblocks': '2', 'GNU.sparse.map': '0,0' }), /not as long/],
    ['0.1: no count', zero({ 'GNU.sparse.map': '0,0' }), /not as long/],
    ['0.1: odd', zero({ 'GNU.sparse.numblocks': '1', 'GNU.sparse.map': '0' }), /not as long/],
    ['0.1: text', zero({ 'GNU.sparse.numblocks': '1', 'GNU.sparse.map': '0,x' }), /bad number/],
    [
      '0.1: negative',
      zero({ 'GNU.sparse.numblocks': '1', 'GNU.sparse.map': '-1,1' }),
      /bad number/,
    ],
    [
      '0.0: comma',
      zero({ 'GNU.sparse.numblocks': '1', 'GNU.sparse.offset': '0,1', 'GNU.sparse.numbytes': '0' }),
      /bad number/,
    ],
    [
      'gnu: no number',
      header({ name: 'bad', type: 'S', rest: Buffer.alloc(167, '\0'.repeat(138) + 'x') }, 'gnu'),
      /size/,
    ],
    ['gnu: no gnu header', header({ name: 'bad', type: 'S' }, 'ustar'), /type S outside/],
    ['gnu: STAR has another layout', header({ name: 'bad', type: 'S' }, 'star'), /type S outside/],
    ['on a directory', dir('bad', { pax: { ...v1, 'GNU.sparse.map': '' } }), /a sparse map on/],
  ]
  for (const [what, member, why] of cases) {
    t.throws(() => streamTar(buildTar([member])), corrupt(why), what)
  }
})

t.test(
  'TarParser takes a sparse form of an unknown version for content, and says so',
  async (t) => {
    const records = pax({
      'GNU.sparse.major': '2',
      'GNU.sparse.minor': '0',
      'GNU.sparse.name': 'other',
      'GNU.sparse.map': '0,1',
    })
    const { entries, notes } = streamTar(buildTar([records, file('own', 'data')]))
    t.match(entries, [{ path: 'own', size: 4, sparse: undefined }])
    t.match(notes, [{ kind: 'unknown-type', path: 'own', detail: /sparse format/ }])
    const none = streamTar(buildTar([file('f', 'data', { pax: { 'GNU.sparse.size': '9' } })]))
    t.match(none, { entries: [{ size: 4, sparse: undefined }], notes: [] })
  },
)

t.test('TarParser takes base-256 numbers in a map, beyond 8 GiB (B-102, B-112)', async (t) => {
  const size = 60_000_000_000
  const { entries } = streamTar(
    buildTar([sparse('big', size, [{ offset: size - 5, data: 'hello' }], 'gnu')]),
  )
  t.match(entries, [{ size, sparse: [{ fileOffset: size - 5, deviceOffset: 512, length: 5 }] }])
  t.throws(
    () =>
      streamTar(
        buildTar([sparse('big', 9, [], 'gnu', { raw: { type: 'S', size: base256(-1, 12) } })]),
      ),
    corrupt(/"big"/),
  )
})
