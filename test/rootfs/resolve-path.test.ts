import { execFileSync, spawnSync } from 'node:child_process'
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { byteString, byteStringOf } from '../../src/byte-string.js'
import { ErofsImage } from '../../src/erofs/reader.js'
import { writeErofs } from '../../src/erofs/writer.js'
import { resolvePath } from '../../src/rootfs/resolve-path.js'
import { walkTree } from '../../src/rootfs/walk.js'
import { dir, file, layer, symlink, type LayerPart } from '../helpers/build-layer.js'
import { union } from './describe-tree.js'

function imageOf(...parts: readonly LayerPart[]): ErofsImage {
  const applied = union([layer(...parts)])
  const devices = applied.devices.map(({ size }) => ({ tag: 'layer', size }))
  return new ErofsImage(writeErofs(applied.root, devices).image)
}

const chain = Array.from({ length: 41 }, (_, n) => symlink(`n${n}`, n === 0 ? 'd' : `n${n - 1}`))
const image = imageOf(
  dir('d'),
  file('d/f', '1'),
  dir('d/e'),
  symlink('abs', '/d/e'),
  symlink('up', '../../d'),
  symlink('d/rel', '../d/f'),
  symlink('slash', 'd/'),
  symlink('fslash', 'd/f/'),
  symlink('dangling', 'no'),
  symlink('loop', 'loop'),
  file(Buffer.from([0xff, 0x0a]), 'x'),
  ...chain,
)
const byNid = new Map(
  [...walkTree(image, byteStringOf(''), image.rootNid)].map((e) => [e.nid, e.path]),
)

const found: readonly [path: string, followLast: boolean, want: string][] = [
  ['', true, ''],
  ['/', true, ''],
  ['.', false, ''],
  ['..', false, ''],
  ['/../../d/../d', false, 'd'],
  ['d', false, 'd'],
  ['/d/', false, 'd'],
  ['//d//f', false, 'd/f'],
  ['d/./e/..', false, 'd'],
  ['abs', false, 'abs'],
  ['abs', true, 'd/e'],
  ['abs/', false, 'd/e'],
  ['abs/.', false, 'd/e'],
  ['abs/..', false, 'd'],
  ['abs/../f', false, 'd/f'],
  ['up/f', true, 'd/f'],
  ['d/rel', true, 'd/f'],
  ['d/rel', false, 'd/rel'],
  ['slash', true, 'd'],
  ['slash/f', true, 'd/f'],
  ['dangling', false, 'dangling'],
  ['loop', false, 'loop'],
  ['n39', true, 'd'],
  ['n40', false, 'n40'],
]

for (const [path, followLast, want] of found) {
  t.test(`resolvePath() finds "${path}"${followLast ? ', followed' : ''}`, async (t) => {
    const nid = resolvePath(image, byteStringOf(path), { followLast })
    t.equal(nid === image.rootNid ? '' : byNid.get(nid), want)
  })
}

const lost: readonly [path: string, followLast: boolean, why: RegExp][] = [
  ['no', false, /^Cannot find no in the image: no does not exist$/],
  ['d/no/..', false, /no does not exist/],
  ['d/f/', false, /not a directory/],
  ['d/f/.', false, /not a directory/],
  ['d/f/..', false, /not a directory/],
  ['d/f/x', false, /not a directory/],
  ['d/rel/', false, /not a directory/],
  ['fslash', true, /not a directory/],
  ['dangling', true, /no does not exist/],
  ['dangling/', false, /no does not exist/],
  ['loop', true, /too many symbolic links/],
  ['loop/x', false, /too many symbolic links/],
  ['n40', true, /too many symbolic links/],
  ['x'.repeat(300), false, /does not exist/],
]

for (const [path, followLast, why] of lost) {
  t.test(
    `resolvePath() does not find "${path.slice(0, 20)}"${followLast ? ', followed' : ''}`,
    async (t) => {
      t.throws(() => resolvePath(image, byteStringOf(path), { followLast }), {
        code: 'PATH_NOT_FOUND',
        message: why,
      })
    },
  )
}

t.test('resolvePath() takes names as bytes and escapes them in messages', async (t) => {
  const name = byteString(Buffer.from([0xff, 0x0a]))
  t.equal(byNid.get(resolvePath(image, name, { followLast: true })), name)
  t.throws(() => resolvePath(image, byteStringOf('\u202e\x1b'), { followLast: true }), {
    message: 'Cannot find \\u{202e}\\x1b in the image: \\u{202e}\\x1b does not exist',
  })
})

const noPython = spawnSync('python3', ['--version']).error && 'python3 is not installed'

t.test('resolvePath() agrees with the kernel', { skip: noPython ?? false }, async (t) => {
  // The links are relative here and lead nowhere above the directory, so that it need not be a root.
  const root = t.testdir({ d: { f: '1', e: {} } })
  const links: Record<string, string> = {
    abs: 'd/e',
    up: './d',
    slash: 'd/',
    fslash: 'd/f/',
    dangling: 'no',
    loop: 'loop',
    'd/rel': '../d/f',
  }
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(root, name))
  const same = imageOf(
    dir('d'),
    file('d/f'),
    dir('d/e'),
    ...Object.entries(links).map(([name, target]) => symlink(name, target)),
  )
  const suffixes = ['', '/', '/.', '/..', '/f', '/f/', '/../d/f', '/../no']
  const paths = [...Object.keys(links), 'd', 'd/f'].flatMap((name) => suffixes.map((s) => name + s))
  const script =
    'import os,sys\nfor p in sys.argv[2:]:\n' +
    ' for f in (os.stat, os.lstat):\n' +
    '  try: s = f(sys.argv[1] + "/" + p); print(oct(s.st_mode & 0o170000))\n' +
    '  except OSError: print("no")\n'
  const output = execFileSync('python3', ['-c', script, root, ...paths], { encoding: 'utf8' })
  const want = output.trim().split('\n')
  const ours = paths.flatMap((path) =>
    [true, false].map((followLast) => {
      try {
        const nid = resolvePath(same, byteStringOf(path), { followLast })
        return `0o${(same.inode(nid).mode & 0o170000).toString(8)}`
      } catch {
        return 'no'
      }
    }),
  )
  t.strictSame(ours, want)
})
