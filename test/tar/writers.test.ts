// Archives by other people's writers of one tree: listed as Python's tarfile lists them, content as on disk.

import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { pack } from 'tar-stream'
import {
  block,
  buildTar,
  char,
  dir,
  fifo,
  file,
  hardlink,
  sparse,
  symlink,
} from '../helpers/build-tar.js'
import {
  hopTar,
  missingTool,
  plainEntry,
  pythonListings,
  streamTar,
  type PlainEntry,
} from '../helpers/list-tar.js'

const noPython = missingTool('python3', '--version')

/** Makes the tree; from Node a file cannot get a name that is not UTF-8, nor xattrs. */
const MAKE_TREE = `
import os, sys
root = os.fsencode(sys.argv[1])
os.mkdir(root)
os.chdir(root)
def put(name, data, mode=0o644):
    with open(name, "wb") as out: out.write(data)
    os.chmod(name, mode)
os.mkdir(b"dir")
put(b"dir/plain", b"content", 0o4755)
put(b"empty", b"")
put(b"latin-\\xe9", b"bytes")
put("utf8-\\u263a".encode(), b"text")
os.symlink(b"dir/plain", b"symlink")
os.link(b"dir/plain", b"hardlink")
if "no-fifo" not in sys.argv: os.mkfifo(b"fifo")
if "long" in sys.argv:
    put(b"n" * 150, b"long name")
    os.symlink(b"t" * 300, b"long-target")
    os.makedirs(b"/".join([b"d" * 60] * 5))
    put(b"/".join([b"d" * 60] * 5 + [b"f" * 60]), b"deep")
if "sparse" in sys.argv:
    with open(b"sparse", "wb") as out:
        for index in range(40):
            out.seek(index * 65536)
            out.write(b"%d" % index * 100)
        out.truncate(40 * 65536)
    with open(b"hole", "wb") as out: out.truncate(1 << 20)
if "devices" in sys.argv:
    os.mknod(b"char", 0o20660, os.makedev(259, 1048575))
    os.mknod(b"block", 0o60660, os.makedev(8, 1))
times = {b"dir/plain": 10**18, b"empty": 1350244992_023960108, b"utf8-\\xe2\\x98\\xba": 5 * 10**18}
if "times" in sys.argv: times[b"dir/plain"] = -1_500_000_000
for name, ns in times.items(): os.utime(name, ns=(ns, ns))
for top, dirs, files in os.walk(b"."):
    for name in dirs: os.utime(os.path.join(top, name), ns=(10**18, 10**18), follow_symlinks=False)
`

const SET_XATTRS = `
import os, sys
os.chdir(sys.argv[1])
os.setxattr(b"dir/plain", b"user.bytes", bytes(range(256)))
os.setxattr(b"dir/plain", b"user.empty", b"")
os.setxattr(b"dir", b"user.dir", b"x")
`

/** Makes the tree of the given parts in a test's own directory. */
function makeTree(t: Test, ...parts: string[]): { tree: string; archive: string } {
  const base = t.testdir()
  const tree = path.join(base, 'tree')
  execFileSync('python3', ['-c', MAKE_TREE, tree, ...parts])
  return { tree, archive: path.join(base, 'archive.tar') }
}

/** Compares our listing with Python's; gives it by path. */
function compare(t: Test, archive: string): Map<string, PlainEntry> {
  const bytes = readFileSync(archive)
  const listing = streamTar(bytes)
  const { entries, error } = pythonListings([archive])[0]!
  const ours = listing.entries.map((entry) => plainEntry(bytes, entry))
  const have = ours.map((entry) => ({ ...entry, path: entry.path.replace(/(.)\/+$/, '$1') }))
  t.equal(error, null)
  t.ok(have.length > 5)
  t.strictSame(have, entries, 'the same as Python')
  const hopped = hopTar(bytes.length, (at, length) => bytes.subarray(at, at + length))
  t.strictSame(hopped, listing, 'hopping sees the same')
  t.strictSame(listing.notes, [])
  return new Map(have.map((entry) => [entry.path.replace(/^\.\//, ''), entry]))
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

const noGnuTar =
  noPython || (spawnSync('tar', ['--version']).stdout.includes('GNU tar') ? false : 'no GNU tar')
const isRoot = process.getuid?.() === 0
const gnuFormats: [format: string, parts: string[], args: string[]][] = [
  ['v7', ['no-fifo'], []],
  ['ustar', [], []],
  ['oldgnu', ['long', 'times'], []],
  ['gnu', ['long', 'sparse', 'times'], ['--sparse']],
  ['gnu', ['long'], ['--incremental', '--numeric-owner', '--owner=3000000', '--group=4294967294']],
  ['posix', ['long', 'times'], []],
  ['posix', ['long', 'sparse'], ['--sparse', '--sparse-version=0.0']],
  ['posix', ['long', 'sparse'], ['--sparse', '--sparse-version=0.1']],
  ['posix', ['long', 'sparse'], ['--sparse', '--sparse-version=1.0']],
]
for (const [format, parts, args] of gnuFormats) {
  const title = `TarParser reads GNU tar --format=${format} ${args.join(' ')} (B-100, B-112…B-115)`
  t.test(title, { skip: noGnuTar }, async (t) => {
    const devices = isRoot && format !== 'v7' ? ['devices'] : []
    const { tree, archive } = makeTree(t, ...parts, ...devices)
    execFileSync('tar', [...args, `--format=${format}`, '-cf', archive, '-C', tree, '.'])
    if (args.includes('--incremental')) {
      // Python takes GNU's times for a prefix, and dumpdirs for files.
      const { entries, notes } = streamTar(readFileSync(archive))
      t.match(entries[0], { path: './', type: 'directory', uid: 3000000, gid: 4294967294 })
      t.equal(entries.filter(({ type }) => type === 'directory').length, 7)
      t.strictSame(notes, [])
      return
    }
    const entries = compare(t, archive)
    t.equal(entries.get('dir/plain')?.mode, 0o4755)
    t.equal(
      entries.get('dir/plain')?.content ?? entries.get('hardlink')?.content,
      sha256(Buffer.from('content')),
    )
    if (devices.length > 0) t.match(entries.get('char'), { devMajor: 259, devMinor: 1048575 })
    if (parts.includes('times')) {
      const mtime = (entries.get('dir/plain') ?? entries.get('hardlink'))?.mtime
      t.equal(mtime?.seconds, -2)
      t.equal(mtime?.nanoseconds, format === 'posix' ? 500_000_000 : 0)
    }
    if (format === 'posix') {
      t.strictSame(entries.get('empty')?.mtime, { seconds: 1350244992, nanoseconds: 23960108 })
    }
    for (const name of parts.includes('sparse') ? ['sparse', 'hole'] : []) {
      t.equal(entries.get(name)?.content, sha256(readFileSync(path.join(tree, name))), name)
    }
    if (parts.includes('sparse')) {
      const sparse = streamTar(readFileSync(archive)).entries.find((e) => e.path.endsWith('sparse'))
      t.ok((sparse?.sparse?.length ?? 0) > 1, 'the archive has a sparse map indeed')
    }
  })
}

t.test('TarParser reads xattrs that GNU tar wrote (B-007)', { skip: noGnuTar }, async (t) => {
  const { tree, archive } = makeTree(t)
  if (spawnSync('python3', ['-c', SET_XATTRS, tree]).status !== 0) {
    t.pass('skipped: the filesystem of the tests has no user xattrs', { skip: true })
    return
  }
  execFileSync('tar', ['--xattrs', '-cf', archive, '-C', tree, '.'])
  const bytes = readFileSync(archive)
  const { entries } = streamTar(bytes)
  const xattrs = new Map(entries.map((entry) => [entry.path as string, entry.xattrs]))
  t.strictSame(xattrs.get('./dir/'), new Map([['user.dir', Buffer.from('x')]]))
  const plain = xattrs.get('./dir/plain') ?? xattrs.get('./hardlink')
  t.strictSame(
    new Map([...(plain ?? [])].sort()),
    new Map([
      ['user.bytes', Buffer.from(Array.from({ length: 256 }, (_, index) => index))],
      ['user.empty', Buffer.alloc(0)],
    ]),
  )
})

for (const format of ['USTAR', 'GNU', 'PAX']) {
  t.test(`TarParser reads Python tarfile ${format} (B-100)`, { skip: noPython }, async (t) => {
    const { tree, archive } = makeTree(
      t,
      ...(format === 'USTAR' ? [] : ['long', 'sparse', 'times']),
    )
    const script = `import tarfile, sys
with tarfile.open(sys.argv[2], "w", format=tarfile.${format}_FORMAT) as out: out.add(sys.argv[1], "top")`
    execFileSync('python3', ['-c', script, tree, archive])
    t.equal(compare(t, archive).get('top/symlink')?.linkTarget, 'dir/plain')
  })
}

const noBusybox = noPython || missingTool('busybox', 'tar', '--help')
t.test('TarParser reads busybox tar (B-100)', { skip: noBusybox }, async (t) => {
  const { tree, archive } = makeTree(t, 'long', 'sparse')
  execFileSync('busybox', ['tar', '-cf', archive, '-C', tree, '.'])
  t.match(compare(t, archive).get('symlink'), { type: 'symlink', linkTarget: 'dir/plain' })
})

const noBsdtar = noPython || missingTool('bsdtar', '--version')
for (const format of ['ustar', 'pax', 'gnutar', 'v7tar']) {
  t.test(`TarParser reads bsdtar --format ${format} (B-100)`, { skip: noBsdtar }, async (t) => {
    const isLong = format === 'pax' || format === 'gnutar'
    const { tree, archive } = makeTree(t, ...(isLong ? ['long', 'sparse', 'times'] : ['no-fifo']))
    execFileSync('bsdtar', ['--format', format, '-cf', archive, '-C', tree, '.'])
    t.equal(compare(t, archive).get('symlink')?.linkTarget, 'dir/plain')
  })
}

t.test('TarParser reads tar-stream (B-100)', { skip: noPython }, async (t) => {
  const out = pack()
  out.entry({ name: 'dir/', type: 'directory', mode: 0o755, mtime: new Date(1000) })
  out.entry({ name: 'dir/file', uid: 1000, gid: 1000, mtime: new Date(2000) }, 'content')
  out.entry({ name: `dir/${'é'.repeat(100)}`, mtime: new Date(0) }, 'long')
  out.entry({ name: 'link', type: 'symlink', linkname: 'dir/file', mtime: new Date(0) })
  out.entry({ name: 'hard', type: 'link', linkname: 'dir/file', mtime: new Date(0) })
  out.entry({ name: 'pax', mtime: new Date(0), pax: { 'SCHILY.xattr.user.a': 'b' } }, 'x')
  out.finalize()
  const archive = path.join(t.testdir(), 'archive.tar')
  writeFileSync(archive, await buffer(out))
  const entries = compare(t, archive)
  t.match(entries.get('dir/file'), { uid: 1000, mtime: { seconds: 2, nanoseconds: 0 } })
  t.strictSame(entries.get('pax')?.xattrs, { 'user.a': 'b' })
})

t.test('build-tar.ts writes what Python reads alike', { skip: noPython }, async (t) => {
  const pieces = Array.from({ length: 30 }, (_, index) => ({ offset: index * 700, data: 'xyz' }))
  const long = 'd/'.repeat(70)
  const members = [
    dir('d', { mode: 0o1755 }),
    file('d/f', 'content', { xattrs: { 'user.a': 'b' }, mtime: -1.5, uid: 3_000_000 }),
    file(`${long}ustar`, 'x'),
    file(`${long}star`, 'x', { dialect: 'star' }),
    file(`${long}gnu`, 'x', { dialect: 'gnu', uid: 3_000_000, mtime: -7 }),
    file('v7', 'x', { dialect: 'v7' }),
    symlink('s', `/${'t'.repeat(300)}`),
    hardlink('h', 'd/f'),
    char('c', 1, 3),
    block('b', 259, 1_048_575),
    fifo('p'),
    ...(['gnu', '0.0', '0.1', '1.0'] as const).map((form) => sparse(form, 99_999, pieces, form)),
  ]
  const archive = path.join(t.testdir(), 'archive.tar')
  writeFileSync(archive, buildTar(members))
  t.equal(compare(t, archive).size, members.length)
})
