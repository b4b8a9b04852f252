// The rules of the format, one archive each, written byte by byte.

import t from 'tap'
import type { ByteString } from '../../src/byte-string.js'
import type { TarEntry } from '../../src/tar/entry.js'
import { TarParser } from '../../src/tar/parser.js'
import {
  base256,
  block,
  buildTar,
  char,
  dir,
  fifo,
  file,
  globalPax,
  gnuLong,
  hardlink,
  header,
  other,
  pax,
  paxMember,
  symlink,
} from '../helpers/build-tar.js'
import { streamTar, type Listing } from '../helpers/list-tar.js'

const name = (text: string): ByteString => text as ByteString
const list = (...members: Buffer[]): Listing => streamTar(buildTar(members))
const only = (...members: Buffer[]): TarEntry => {
  const { entries } = list(...members)
  if (entries.length !== 1 || entries[0] === undefined) throw new Error('not one entry')
  return entries[0]
}
const paths = (...members: Buffer[]): string[] => list(...members).entries.map((e) => e.path)
const corrupt = (message: RegExp): { code: string; message: RegExp } => ({
  code: 'TAR_CORRUPT',
  message,
})

t.test('TarParser lists every type of file with all it holds', async (t) => {
  const { entries, notes } = list(
    dir('etc/', { mode: 0o1777, uid: 1, gid: 2, mtime: 3 }),
    file('etc/passwd', 'root', { xattrs: { 'user.note': 'hi' }, mtime: -1.5 }),
    symlink('etc/mtab', '/proc/mounts'),
    hardlink('etc/passwd-', 'etc/passwd'),
    char('null', 1, 3),
    block('nvme', 259, 1048575),
    fifo('pipe'),
  )
  const base = {
    uid: 0,
    gid: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
    size: 0,
    linkTarget: name(''),
    devMajor: 0,
    devMinor: 0,
    xattrs: undefined,
    sparse: undefined,
  }
  t.strictSame(entries, [
    {
      ...base,
      ...{ path: name('etc/'), type: 'directory', mode: 0o1777, uid: 1, gid: 2 },
      ...{ mtime: { seconds: 3, nanoseconds: 0 }, headerOffset: 0, dataOffset: 512 },
    },
    {
      ...base,
      ...{ path: name('etc/passwd'), type: 'file', mode: 0o644, size: 4 },
      ...{ mtime: { seconds: -2, nanoseconds: 5e8 }, headerOffset: 512, dataOffset: 2048 },
      xattrs: new Map([[name('user.note'), Buffer.from('hi')]]),
    },
    {
      ...base,
      ...{ path: name('etc/mtab'), type: 'symlink', mode: 0o777 },
      ...{ linkTarget: name('/proc/mounts'), headerOffset: 2560, dataOffset: 3072 },
    },
    {
      ...base,
      ...{ path: name('etc/passwd-'), type: 'hardlink', mode: 0o644 },
      ...{ linkTarget: name('etc/passwd'), headerOffset: 3072, dataOffset: 3584 },
    },
    {
      ...base,
      ...{ path: name('null'), type: 'char', mode: 0o666 },
      ...{ devMajor: 1, devMinor: 3, headerOffset: 3584, dataOffset: 4096 },
    },
    {
      ...base,
      ...{ path: name('nvme'), type: 'block', mode: 0o660 },
      ...{ devMajor: 259, devMinor: 1048575, headerOffset: 4096, dataOffset: 4608 },
    },
    {
      ...base,
      ...{ path: name('pipe'), type: 'fifo', mode: 0o644, headerOffset: 4608, dataOffset: 5120 },
    },
  ])
  t.strictSame(notes, [])
})

t.test('TarParser drops what a mode holds beyond twelve bits (B-006)', async (t) => {
  for (const [written, want] of [
    [0o104755, 0o4755],
    [0o2755, 0o2755],
    [0o1777, 0o1777],
    [-1, 0o7777],
  ] as const) {
    t.equal(only(file('f', '', { raw: { mode: written } })).mode, want)
  }
})

t.test('TarParser takes numeric owners and forgets their names (B-005)', async (t) => {
  const entry = only(file('f', '', { uid: 1000, uname: 'root', gid: 0xffff_ffff, gname: 'x' }))
  t.match(entry, { uid: 1000, gid: 0xffff_ffff })
})

t.test('TarParser refuses owners beyond 32 bits, and names the entry', async (t) => {
  for (const options of [
    { uid: 2 ** 32 },
    { gid: 2 ** 32 },
    { pax: { uid: '-1' } },
    { raw: { gid: base256(-1, 8) } },
    { dialect: 'gnu', uid: 2 ** 40 },
  ] as const) {
    t.throws(() => list(file('who', '', options)), corrupt(/^Cannot read tar entry "who" .*id/))
  }
})

t.test('TarParser reads each dialect (B-100, B-123)', async (t) => {
  const raw = { prefix: 'pre' }
  const rest = (text: string): Buffer => Buffer.from(text.padEnd(167, '\0'), 'latin1')
  const cases: [what: string, member: Buffer, want: string][] = [
    ['v7', header({ name: 'n', rest: rest('pre') }, 'v7'), 'n'],
    ['ustar', file('n', '', { raw }), 'pre/n'],
    ['ustar without version', file('n', '', { raw: { ...raw, magic: 'ustar\0\0\0' } }), 'pre/n'],
    ['star', file('n', '', { raw, dialect: 'star' }), 'pre/n'],
    [
      'star stops at 131',
      file('n', '', { dialect: 'star', raw: { prefix: 'p'.repeat(131) } }),
      `${'p'.repeat(131)}/n`,
    ],
    ['ustar to 155', file('n', '', { raw: { prefix: 'p'.repeat(155) } }), `${'p'.repeat(155)}/n`],
    [
      'gnu with times',
      file('n', '', { dialect: 'gnu', raw: { rest: rest('12574544345\x0012574544345\0') } }),
      'n',
    ],
    [
      'gnu magic on a prefix, as Go before 1.8 wrote',
      file('n', '', { dialect: 'gnu', raw }),
      'pre/n',
    ],
    [
      'gnu magic on junk',
      file('n', '', { dialect: 'gnu', raw: { rest: rest('\x7f\xfejunk') } }),
      'n',
    ],
    ['a name without NUL', file('n'.repeat(100)), 'n'.repeat(100)],
    ['bytes behind a NUL', file('', '', { raw: { name: 'n\0junk' } }), 'n'],
  ]
  for (const [what, member, want] of cases) t.equal(only(member).path, want, what)
})

t.test('TarParser accepts unsigned and signed checksums, no other (B-101)', async (t) => {
  const raw = { name: Buffer.from([0xff, 0x80, 0x61]) }
  t.equal(only(file('', '', { raw })).path, '\xff\x80a')
  t.equal(only(file('', '', { raw: { ...raw, checksum: 'signed' } })).path, '\xff\x80a')
  for (const checksum of [0, 1, Buffer.alloc(8), Buffer.from('99999999')]) {
    t.throws(() => list(file('f', '', { raw: { checksum } })), corrupt(/offset 0: its checksum/))
  }
})

t.test('TarParser refuses a negative size wherever it stands (B-103)', async (t) => {
  const size = base256(-512, 12)
  for (const member of [
    file('neg', '', { raw: { size } }),
    file('neg', '', { raw: { size: '-0000000777' } }),
    file('neg', '', { pax: { size: '-1' } }),
    file('neg', '', { raw: { size }, pax: { size: '0' } }),
    dir('neg', { raw: { size } }),
    paxMember('x', '', { name: 'neg', size }),
    gnuLong('L', 'neg').fill(header({ name: 'neg', type: 'L', size }), 0, 512),
  ]) {
    t.throws(() => list(member), corrupt(/"neg".*size/))
  }
})

t.test('TarParser refuses sizes and offsets beyond exact integers (S-22)', async (t) => {
  for (const size of [2n ** 53n, 2n ** 63n, 2n ** 80n]) {
    const raw = { size: base256(size, 12) }
    t.throws(() => list(file('big', '', { raw })), corrupt(/"big".*size \S+ is out of range/))
  }
  const almost = { size: base256(Number.MAX_SAFE_INTEGER - 5, 12) }
  t.throws(() => list(file('big', '', { raw: almost })), corrupt(/"big".*size/))
  for (const size of ['9007199254740992', '9'.repeat(400), '0x10', '1.0', ' 1']) {
    t.throws(() => list(file('big', '', { pax: { size } })), corrupt(/"big".*size/))
  }
})

t.test('TarParser lets PAX decide the size (B-106, S-20)', async (t) => {
  const inner = header({ name: 'smuggled', size: 0 })
  const members = [file('a', inner, { raw: { size: 0 }, pax: { size: '512' } }), file('b')]
  t.strictSame(paths(...members), ['a', 'b'], 'a header inside of the content is not one')
  const shorter = [file('a', 'x', { raw: { size: 1024 }, pax: { size: '1' } }), file('b')]
  t.strictSame(paths(...shorter), ['a', 'b'])
})

t.test('TarParser ignores the size of types that have no data (B-066, B-117)', async (t) => {
  const raw = { size: 4096 }
  const entries = list(
    dir('d/', { raw }),
    hardlink('h', 't', { raw }),
    symlink('s', 't', { raw }),
    char('c', 1, 2, { raw }),
    block('b', 1, 2, { raw }),
    fifo('f', { raw, pax: { size: '4096' } }),
    file('slash/', '', { raw: { ...raw, type: '\0' } }),
    file('end', 'x'),
  ).entries
  t.strictSame(
    entries.map((entry) => [entry.path, entry.size]),
    ['d/', 'h', 's', 'c', 'b', 'f', 'slash/'].map((path) => [path, 0]).concat([['end', 1]]),
  )
})

t.test('TarParser takes a file with a trailing slash for a directory (B-052)', async (t) => {
  const { entries } = list(
    file('a/', '', { raw: { type: '\0' } }),
    file('b/', 'data'),
    file('c/', '', { dialect: 'v7', raw: { type: '\0' } }),
    file('d', '', { pax: { path: 'long/' } }),
    file('e', '', { raw: { type: '\0' } }),
    file('f', 'y'),
  )
  t.strictSame(
    entries.map(({ path, type, size }) => [path, type, size]),
    [
      ['a/', 'directory', 0],
      ['b/', 'directory', 0],
      ['c/', 'directory', 0],
      ['long/', 'directory', 0],
      ['e', 'file', 0],
      ['f', 'file', 1],
    ],
  )
})

t.test('TarParser takes type 7 for a file (B-118)', async (t) => {
  t.match(only(other('7', 'c', 'data')), { type: 'file', size: 4, dataOffset: 512 })
})

t.test('TarParser notes and steps over unknown types, and keeps dumpdirs (B-119)', async (t) => {
  const { entries, notes } = list(
    other('V', 'volume'),
    other('M', 'continued', 'x'.repeat(1000)),
    other('D', 'dump/', 'Yname\0\0', { dialect: 'gnu' }),
    gnuLong('L', 'long-name-of-a-thing-that-is-skipped'),
    other('\x1b', 'esc', 'x'),
    file('end', 'x'),
  )
  t.strictSame(
    entries.map(({ path, type, size }) => [path, type, size]),
    [
      ['dump/', 'directory', 0],
      ['end', 'file', 1],
    ],
  )
  t.strictSame(notes, [
    ...[
      { kind: 'unknown-type', path: 'volume', detail: 'type V is skipped', headerOffset: 0 },
      { kind: 'unknown-type', path: 'continued', detail: 'type M is skipped', headerOffset: 512 },
    ],
    {
      kind: 'unknown-type',
      path: 'long-name-of-a-thing-that-is-skipped',
      detail: 'type \\x1b is skipped',
      headerOffset: 3072,
    },
  ])
})

t.test('TarParser refuses device numbers that the kernel cannot hold (B-011)', async (t) => {
  t.match(only(char('max', 4095, 1048575)), { devMajor: 4095, devMinor: 1048575 })
  for (const raw of [
    { devMajor: 4096 },
    { devMinor: 1048576 },
    { devMajor: base256(-1, 8) },
    { devMinor: base256(2n ** 40n, 8) },
    { devMajor: 'xyz' },
  ]) {
    t.throws(() => list(char('dev', 1, 1, { raw })), corrupt(/"dev".*devM/))
  }
  t.match(only(char('old', 1, 3, { dialect: 'v7' })), { devMajor: 0, devMinor: 0 })
})

t.test('TarParser refuses a field that is no number, as Go does', async (t) => {
  const records = { uid: '1', gid: '1', size: '0', mtime: '1' }
  for (const field of ['mode', 'uid', 'gid', 'size', 'mtime', 'devMajor', 'devMinor'] as const) {
    const raw = { [field]: '12x4' }
    const why = corrupt(new RegExp(`"bad" .*the ${field} field is no number`))
    t.throws(() => list(file('bad', '', { raw, pax: records })), why, `${field} of a file`)
    for (const type of ['x', 'g', 'L', 'K', 'V']) {
      t.throws(() => list(header({ name: 'bad', type, ...raw })), why, `${field} of type ${type}`)
    }
  }
})

t.test('TarParser clamps times and says so (S-22)', async (t) => {
  const { entries, notes } = list(
    file('far', '', { raw: { mtime: base256(2n ** 70n, 12) } }),
    file('old', '', { pax: { mtime: `-${'9'.repeat(30)}.5` } }),
    file('negative', '', { dialect: 'gnu', mtime: -1 }),
    file('huge', '', { dialect: 'gnu', mtime: 2 ** 40 }),
  )
  t.strictSame(
    entries.map(({ mtime }) => mtime),
    [
      { seconds: Number.MAX_SAFE_INTEGER, nanoseconds: 999_999_999 },
      { seconds: Number.MIN_SAFE_INTEGER, nanoseconds: 0 },
      { seconds: -1, nanoseconds: 0 },
      { seconds: 2 ** 40, nanoseconds: 0 },
    ],
  )
  t.strictSame(
    notes.map(({ kind, path, headerOffset }) => [kind, path, headerOffset]),
    [
      ['clamped', 'far', 0],
      ['clamped', 'old', 512],
    ],
  )
})

t.test('TarParser gives xattrs as raw bytes (B-007)', async (t) => {
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex')
  const entry = only(
    pax([
      ['SCHILY.xattr.security.capability', capability],
      ['SCHILY.xattr.user.empty', ''],
      ['SCHILY.xattr.user.twice', 'first'],
      ['SCHILY.xattr.user.twice', 'a=b\nc'],
      [Buffer.from('SCHILY.xattr.user.\xff', 'latin1'), Buffer.from([0, 255])],
      ['LIBARCHIVE.xattr.user.other', 'aGk='],
    ]),
    file('f'),
  )
  t.strictSame(
    entry.xattrs,
    new Map([
      [name('security.capability'), capability],
      [name('user.empty'), Buffer.alloc(0)],
      [name('user.twice'), Buffer.from('a=b\nc')],
      [name('user.\xff'), Buffer.from([0, 255])],
    ]),
  )
})

t.test('TarParser applies the records of the last PAX header alone (B-107)', async (t) => {
  const entry = only(
    pax({ path: 'first', uid: '7', 'SCHILY.xattr.user.a': 'x' }),
    pax({ gid: '8' }),
    file('own'),
  )
  t.match(entry, { path: 'own', uid: 0, gid: 8, xattrs: undefined, headerOffset: 0 })
  t.strictSame(paths(pax({ path: 'first' }), file('a'), file('b')), ['first', 'b'])
})

t.test('TarParser takes an empty PAX value back (B-105)', async (t) => {
  const empty = { path: '', linkpath: '', size: '', uid: '', gid: '', mtime: '' }
  const members = [
    pax([...Object.entries({ path: 'gone', uid: '9' }), ...Object.entries(empty)]),
    symlink('own', 'target', { uid: 5, gid: 6, mtime: 7 }),
  ]
  t.match(only(...members), {
    path: 'own',
    linkTarget: 'target',
    uid: 5,
    gid: 6,
    mtime: { seconds: 7, nanoseconds: 0 },
  })
})

t.test('TarParser reads the Solaris X header as PAX', async (t) => {
  t.equal(only(paxMember('X', '12 path=sun\n'), file('f')).path, 'sun')
})

t.test('TarParser never lets a global header change an entry (B-108)', async (t) => {
  const { entries, notes } = list(
    globalPax({ path: 'evil', size: '99', comment: 'c0ffee', '\x1b[31m': 'x' }),
    file('a', 'x'),
    pax({ path: 'forgotten' }),
    gnuLong('L', 'forgotten too'),
    globalPax({}),
    file('b', 'x'),
  )
  t.strictSame(
    entries.map(({ path, size, headerOffset }) => [path, size, headerOffset]),
    [
      ['a', 1, 1024],
      ['b', 1, 4608],
    ],
    'as in Go, a global header ends what was announced before it',
  )
  t.strictSame(notes, [
    {
      kind: 'global-header',
      path: 'pax',
      detail: 'ignored: path, size, comment, \\x1b[31m',
      headerOffset: 0,
    },
    { kind: 'global-header', path: 'pax', detail: 'ignored: ', headerOffset: 4096 },
  ])
  const keys = Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`k${index}`, 'v']))
  t.match(list(globalPax(keys)).notes, [{ detail: 'ignored: k0, k1, k2, k3, k4, k5, k6, k7, …' }])
})

t.test(
  'TarParser reads GNU long names up to their NUL, the last of each kind (B-109)',
  async (t) => {
    const long = 'd/'.repeat(150)
    const entry = only(
      gnuLong('L', 'first'),
      gnuLong('K', 'link'),
      gnuLong('L', `${long}\0junk`),
      symlink('own', 'x', { dialect: 'gnu' }),
    )
    t.match(entry, { path: long, linkTarget: 'link', headerOffset: 0, dataOffset: 3584 })
    t.equal(only(gnuLong('L', 'first'), gnuLong('L', ''), file('own')).path, 'own')
  },
)

t.test(
  'TarParser prefers a GNU long name to PAX in either order, as Go does (B-110)',
  async (t) => {
    const long = [gnuLong('L', 'gnu'), gnuLong('K', 'gnu-link')]
    const records = pax({ path: 'pax', linkpath: 'pax-link' })
    for (const before of [
      [...long, records],
      [records, ...long],
    ]) {
      t.match(only(...before, symlink('own', 'x')), { path: 'gnu', linkTarget: 'gnu-link' })
    }
  },
)

t.test('TarParser gives names as bytes, whatever hdrcharset says (B-124)', async (t) => {
  const latin1 = Buffer.from('h\xe9', 'latin1')
  t.equal(only(file(latin1)).path, 'h\xe9')
  t.equal(only(file('x', '', { pax: [['path', latin1]] })).path, 'h\xe9')
  const binary = [['hdrcharset', 'BINARY'] as const, ['path', latin1] as const]
  t.equal(only(file('x', '', { pax: binary })).path, 'h\xe9')
  t.equal(only(file('x', '', { pax: { path: 'é' } })).path, '\xc3\xa9')
})

t.test('TarParser caps the bodies of meta headers at 1 MiB (B-111, S-19)', async (t) => {
  const limit = { code: 'LIMIT_EXCEEDED', message: /1048577 bytes is larger than 1048576/ }
  for (const type of ['x', 'X', 'g', 'L', 'K']) {
    t.throws(() => list(header({ name: 'big', type, size: 1048577 })), limit, type)
  }
  const value = 'v'.repeat(1024 * 1024 - 14)
  t.equal(only(paxMember('x', `1048576 path=${value}\n`), file('f')).path, value)
  t.equal(only(gnuLong('L', 'n'.repeat(1048575)), file('f')).path.length, 1048575)
})

t.test('TarParser shortens a long name in a message', async (t) => {
  const long = gnuLong('L', 'n'.repeat(5000))
  t.throws(() => list(long, file('f', '', { raw: { mtime: 'x' } })), {
    message: /"n{256}… \(5000 bytes\)" at device offset 0: the mtime/,
  })
  t.throws(() => list(file('\x1b[2J\u202e', '', { raw: { mtime: 'x' } })), {
    message: /entry "\\x1b\[2J\\u\{202e\}" at/,
  })
})

t.test('TarParser accepts the ends that Go accepts (B-120)', async (t) => {
  const member = file('f', 'x')
  for (const archive of [
    buildTar([member]),
    buildTar([member], { end: 'one-block' }),
    buildTar([member], { end: 'none' }),
    member.subarray(0, 513),
    member.subarray(0, 1000),
    Buffer.concat([member.subarray(0, 512), Buffer.from('x')]),
  ]) {
    t.match(streamTar(archive), { entries: [{ path: 'f' }], notes: [] })
  }
  t.strictSame(streamTar(Buffer.alloc(0)), { entries: [], notes: [] })
  t.strictSame(streamTar(Buffer.alloc(512)), { entries: [], notes: [] })
  t.strictSame(streamTar(Buffer.alloc(1024)), { entries: [], notes: [] })
})

t.test('TarParser refuses an archive that is cut, and says where (B-120)', async (t) => {
  const cut = (archive: Buffer, length: number): (() => unknown) => {
    return () => streamTar(archive.subarray(0, length))
  }
  const plain = buildTar([file('first'), file('second', 'x'.repeat(600))])
  t.throws(cut(plain, 300), corrupt(/tar header at device offset 0.*ends.*offset 300/))
  t.throws(cut(plain, 513), corrupt(/tar header at device offset 512.*ends/))
  t.throws(cut(plain, 1024), corrupt(/"second" at device offset 512.*ends/))
  t.throws(cut(plain, 1623), corrupt(/"second".*ends/))
  t.doesNotThrow(cut(plain, 1624))
  t.throws(cut(plain, 2049), corrupt(/tar header at device offset 2048.*ends/))
  t.throws(cut(plain, 2700), corrupt(/tar header at device offset 2560.*ends/))
  const extended = buildTar([pax({ path: 'p' }), file('f')])
  for (const length of [512, 515, 1024, 1300]) {
    t.throws(cut(extended, length), corrupt(/tar header at device offset 0.*ends/))
  }
})

t.test('TarParser refuses a header behind a single zero block', async (t) => {
  const archive = Buffer.concat([file('a'), Buffer.alloc(512), file('b')])
  t.throws(() => streamTar(archive), corrupt(/offset 1024: it follows a single zero block/))
})

t.test(
  'TarParser does not continue a second archive, and notes what follows (B-121, B-122)',
  async (t) => {
    const first = buildTar([file('a')])
    const second = buildTar([file('hidden')])
    const { entries, notes } = streamTar(Buffer.concat([first, second]))
    t.strictSame(
      entries.map(({ path }) => path),
      ['a'],
    )
    t.strictSame(notes, [
      {
        kind: 'trailing-data',
        path: '',
        detail: '1536 bytes follow the end marker',
        headerOffset: 1536,
      },
    ])
    t.strictSame(streamTar(buildTar([file('a')], { recordSize: 10240 })).notes, [])
    t.match(streamTar(Buffer.concat([first, Buffer.alloc(20480)])).notes, [
      { kind: 'trailing-data' },
    ])
    t.match(streamTar(buildTar([], { trailing: 'x' })).notes, [{ detail: /^1 bytes/ }])
  },
)

t.test('TarParser counts entries and notes against a cap (B-126, S-18)', async (t) => {
  const archive = buildTar([file('a'), other('V', 'b'), globalPax({}), file('c')])
  t.match(streamTar(archive, undefined, { maxEntries: 4 }).entries, { length: 2 })
  for (const maxEntries of [0, 1, 2, 3]) {
    t.throws(() => streamTar(archive, undefined, { maxEntries }), {
      code: 'LIMIT_EXCEEDED',
      message: new RegExp(`more than ${maxEntries} entries`),
    })
  }
})

t.test('TarParser counts names, targets and xattrs against a cap (B-126)', async (t) => {
  const archive = buildTar([
    symlink('1234', '5678'),
    file('90', '', { xattrs: { 'user.x': 'value' } }),
  ])
  t.match(streamTar(archive, undefined, { maxMetadata: 21 }).entries, { length: 2 })
  t.throws(() => streamTar(archive, undefined, { maxMetadata: 20 }), {
    code: 'LIMIT_EXCEEDED',
    message: /^Cannot read tar entry "90" .*more than 20 bytes/,
  })
})

t.test('write() insists on every byte that is needed, and on no other', async (t) => {
  const archive = buildTar([file('a', 'x'.repeat(5000)), file('b')])
  const paths: string[] = []
  const parser = new TarParser({ onEntry: ({ path }) => paths.push(path) })
  t.throws(
    () => {
      parser.write(archive.subarray(1), 1)
    },
    { code: 'INTERNAL' },
  )
  parser.write(archive.subarray(0, 600), 0)
  t.strictSame([parser.nextOffset, parser.ended, paths], [5632, false, ['a']])
  parser.write(archive.subarray(100, 700), 100)
  parser.write(archive.subarray(5000, 5700), 5000)
  t.equal(parser.nextOffset, 5700, 'a part of a header was seen')
  t.throws(
    () => {
      parser.write(archive.subarray(5701), 5701)
    },
    { code: 'INTERNAL' },
  )
  parser.write(archive.subarray(5600), 5600)
  t.strictSame([parser.nextOffset, parser.ended, paths], [7168, true, ['a', 'b']])
  parser.write(Buffer.from('ignored'), 7168)
  parser.end(7175)

  const early = new TarParser({ onEntry: () => undefined })
  t.throws(
    () => {
      early.end(512)
    },
    { code: 'INTERNAL' },
  )
})
