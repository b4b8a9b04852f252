// The rows C-081 to C-083, C-098, C-101, S-25 and S-26 of the checklist.

import t from 'tap'
import { byteStringOf } from '../../src/byte-string.js'
import type { MountPoint, MountPointRole } from '../../src/bundle/conversion.js'
import {
  generatedLayer,
  planMountPoints,
  type MountPointPlan,
} from '../../src/bundle/mount-points.js'
import { walkPath } from '../../src/bundle/tree-walk.js'
import type { ErofsImage } from '../../src/erofs/reader.js'
import { S_IFDIR, S_IFLNK, S_IFMT } from '../../src/erofs/format.js'
import { isOcimountError } from '../../src/errors.js'
import { applyLayers } from '../../src/rootfs/apply-layers.js'
import { resolvePath } from '../../src/rootfs/resolve-path.js'
import { char, dir, fifo, file, layer, symlink, type LayerPart } from '../helpers/build-layer.js'
import { convert, imageTree, stackedTree } from '../helpers/bundle-input.js'
import { SeededRandom } from '../helpers/seeded-random.js'

function point(path: string, role: MountPointRole, isFile = role.startsWith('etc')): MountPoint {
  return { path, isFile, role, origin: role === 'mount' ? 'option' : 'image' }
}

/** `path/` for a directory, `path` for a file, `path!` where it replaces something. */
function planned(parts: readonly LayerPart[], ...points: readonly MountPoint[]): string[] {
  const { entries, replaced } = planMountPoints(imageTree(...parts), points)
  return entries.map(
    ({ path, isFile }) => `${path}${isFile ? '' : '/'}${replaced.includes(path) ? '!' : ''}`,
  )
}

const KERNEL = ['/proc', '/sys', '/dev'].map((path) => point(path, 'runtime'))

t.test('an empty image gets all that a runtime needs (C-081, C-082)', async (t) => {
  const spec = { config: { Cmd: ['x'], WorkingDir: '/srv/app', Volumes: { '/data/db': {} } } }
  const { mountPoints } = await convert(spec)
  const { entries } = planMountPoints(imageTree(), mountPoints)
  t.strictSame(
    entries.map(({ path, isFile }) => `${path}${isFile ? '' : '/'}`),
    [
      ...['proc/', 'dev/', 'sys/', 'data/', 'data/db/', 'etc/', 'etc/resolv.conf', 'etc/hosts'],
      ...['etc/hostname', 'srv/', 'srv/app/'],
    ],
  )
})

t.test('an image that has everything gets nothing', async (t) => {
  const parts = [
    ...['proc', 'sys', 'dev', 'etc', 'data'].map((path) => dir(path)),
    ...['resolv.conf', 'hosts', 'hostname'].map((name) => file(`etc/${name}`)),
  ]
  const { mountPoints } = await convert({ config: { Cmd: ['x'], Volumes: { '/data': {} } } })
  const plan = planMountPoints(imageTree(...parts), mountPoints)
  t.strictSame(plan, { entries: [], replaced: [] })
  t.equal(generatedLayer(plan), undefined)
})

t.test('what is no directory at /proc, /sys and /dev is replaced (C-083, S-25)', async (t) => {
  const hostile = [symlink('proc', '/tmp'), symlink('dev', 'proc'), file('sys', 'x'), dir('tmp')]
  t.strictSame(planned(hostile, ...KERNEL), ['proc/!', 'sys/!', 'dev/!'])
  const parts = [fifo('proc'), char('dev', 1, 3), symlink('sys', '/proc/self/root/sys')]
  t.strictSame(planned(parts, ...KERNEL), ['proc/!', 'sys/!', 'dev/!'])
  const plan = planMountPoints(imageTree(...hostile), KERNEL)
  const upper = generatedLayer(plan)
  t.ok(upper)
  const { image } = stackedTree(hostile, ...(upper === undefined ? [] : [upper]))
  for (const name of ['proc', 'sys', 'dev']) {
    const nid = image.lookup(image.rootNid, byteStringOf(name))
    const inode = image.inode(nid ?? 0)
    t.equal(inode.mode, S_IFDIR | 0o755, name)
    t.strictSame([inode.uid, inode.gid], [0, 0])
  }
})

t.test('files of /etc are replaced only where something is mounted (C-101)', async (t) => {
  const link = [dir('etc'), symlink('etc/resolv.conf', '../run/stub'), dir('etc/hosts')]
  t.strictSame(planned(link, point('/etc/resolv.conf', 'etc'), point('/etc/hosts', 'etc')), [
    ...['etc/resolv.conf!', 'etc/hosts!'],
  ])
  t.strictSame(
    planned(link, point('/etc/resolv.conf', 'etc-spare'), point('/etc/hosts', 'etc-spare')),
    [],
  )
  t.strictSame(planned([file('etc', 'x')], point('/etc/hosts', 'etc-spare')), [])
  t.strictSame(planned([file('etc', 'x')], point('/etc/hosts', 'etc')), ['etc/!', 'etc/hosts'])
  t.strictSame(planned([symlink('etc', 'usr/etc')], point('/etc/hosts', 'etc-spare')), [
    ...['usr/', 'usr/etc/', 'usr/etc/hosts'],
  ])
  t.strictSame(planned([symlink('etc', '/proc/1')], point('/etc/hosts', 'etc-spare')), [])
})

t.test(
  'links to volumes, mounts and the working directory are followed inside the image',
  async (t) => {
    const parts = [dir('run'), symlink('var/run', '../../../run'), symlink('loop', 'loop')]
    t.strictSame(planned(parts, point('/var/run/x/y', 'volume')), ['run/x/', 'run/x/y/'])
    t.strictSame(planned(parts, point('/var/run', 'cwd')), [])
    t.strictSame(planned(parts, point('/var/run/f', 'mount', true)), ['run/f'])
    t.strictSame(planned([symlink('a', '/b/../c/d')], point('/a/e', 'cwd')), [
      'c/',
      'c/d/',
      'c/d/e/',
    ])
    t.throws(() => planned(parts, point('/loop/x', 'volume')), { code: 'IMAGE_INVALID' })
  },
)

t.test('links into what is the runtime’s are refused (S-25, S-26)', async (t) => {
  const parts = [symlink('p', '/proc/self/fd'), symlink('d', 'dev'), symlink('r', '/'), dir('dev')]
  const bad = [
    ...[
      point('/p/7', 'cwd'),
      point('/p', 'volume'),
      point('/d/x', 'volume'),
      point('/r', 'volume'),
    ],
    ...[point('/d/shm', 'mount'), point('/r/proc', 'mount'), point('/d', 'cwd')],
  ]
  for (const one of bad) {
    const code = one.role === 'mount' ? 'USAGE' : 'IMAGE_INVALID'
    t.throws(() => planned(parts, one), { code }, `${one.role} ${one.path}`)
  }
  t.strictSame(planned(parts, point('/r', 'cwd')), [])
})

t.test('what is in the way of a volume, mount or working directory is told of', async (t) => {
  const parts = [file('f', 'x'), dir('d')]
  const bad = [
    ...[point('/f', 'volume'), point('/f/x', 'volume'), point('/f', 'cwd'), point('/f', 'mount')],
    ...[point('/d', 'mount', true), point('/.wh.x', 'volume'), point(`/${'x'.repeat(256)}`, 'cwd')],
  ]
  for (const one of bad)
    t.throws(() => planned(parts, one), { code: /IMAGE_INVALID|USAGE/ }, one.path)
  t.strictSame(planned(parts, point('/f', 'mount', true)), [], 'a file over a file')
  t.strictSame(planned(parts, point('/f', 'profile')), ['f/!'])
})

t.test('what lies on another mount is left to it', async (t) => {
  const points = [point('/run', 'profile'), point('/v', 'volume'), point('/v/w', 'volume')]
  t.strictSame(planned([], ...points, point('/run/app', 'cwd')), ['run/', 'v/'])
  t.strictSame(planned([symlink('l', 'v')], ...points, point('/l/x', 'cwd')), ['run/', 'v/'])
})

t.test('generatedLayer() is named by what is in it', async (t) => {
  const one = generatedLayer(planMountPoints(imageTree(), KERNEL))
  const two = generatedLayer(planMountPoints(imageTree(file('x')), KERNEL))
  const other = generatedLayer(planMountPoints(imageTree(dir('proc')), KERNEL))
  t.match(one?.layerId, /^generated:[0-9a-f]{64}$/)
  t.strictSame(one, two)
  t.not(one?.layerId, other?.layerId)
  t.equal(one?.toc.deviceSize, 0)
  const hostile = planMountPoints(imageTree(symlink('proc', 'x')), KERNEL)
  t.match(generatedLayer(hostile)?.toc.notes[0], {
    kind: 'mount-point',
    path: 'proc',
    detail: /in place of/,
  })
})

t.test('in any tree, what is planned is there once it is applied', async (t) => {
  const seed = Number(process.env['OCIMOUNT_TEST_SEED'] ?? Date.now() % 2 ** 31)
  t.comment(`OCIMOUNT_TEST_SEED=${seed}`)
  const random = new SeededRandom(seed)
  const names = ['proc', 'sys', 'dev', 'etc', 'a', 'b', 'hosts']
  const pathOf = (): string =>
    Array.from({ length: 1 + random.below(3) }, () => random.pick(names)).join('/')
  let refused = 0
  for (let round = 0; round < 300; round++) {
    const parts = Array.from({ length: random.below(8) }, () => {
      const path = pathOf()
      const target = `${random.pick(['/', '../', ''])}${pathOf()}`
      return random.pick([dir(path), file(path, 'x'), symlink(path, target), fifo(path)])
    })
    const points = [
      ...KERNEL,
      point('/etc/hosts', random.pick(['etc', 'etc-spare'])),
      point(`/${pathOf()}`, random.pick(['volume', 'cwd'])),
      point(`/${pathOf()}`, 'mount', random.below(2) === 0),
    ]
    const what = JSON.stringify([
      parts.map(({ entry }) => [entry.type, entry.path, entry.linkTarget]),
      points,
    ])
    if (!isImage(parts)) continue
    let plan: MountPointPlan
    try {
      plan = planMountPoints(imageTree(...parts), points)
    } catch (error) {
      if (!isOcimountError(error, 'IMAGE_INVALID', 'USAGE')) throw error
      refused++
      continue
    }
    const upper = generatedLayer(plan)
    const stack = upper === undefined ? [] : [upper]
    const { report } = applyLayers([{ layerId: 'base', toc: layer(...parts).toc }, ...stack])
    const isSilent = !report.entries.some(
      ({ kind, layer }) => kind === 'parent-replaced' && layer === 1,
    )
    t.ok(isSilent, `what is replaced is in the plan: ${what}`)
    const { image } = stackedTree(parts, ...stack)
    for (const { path, role, isFile } of points) {
      if (role === 'etc-spare' || isOnOther(image, path, points)) continue
      const nid = resolvePath(image, byteStringOf(path), { followLast: role !== 'runtime' })
      const kind = image.inode(nid).mode & S_IFMT
      t.ok(isFile ? kind !== S_IFDIR && kind !== S_IFLNK : kind === S_IFDIR, `${path}: ${what}`)
    }
  }
  t.ok(refused < 290, `${refused} refused`)
})

function isImage(parts: readonly LayerPart[]): boolean {
  try {
    return imageTree(...parts).image.size > 0
  } catch (error) {
    if (isOcimountError(error, 'TAR_CORRUPT')) return false
    throw error
  }
}

/** Whether the path lies on another mount, directly or through a link: then it need not be in the tree. */
function isOnOther(image: ErofsImage, path: string, points: readonly MountPoint[]): boolean {
  const placeOf = (at: string): string =>
    `/${walkPath(image, at, { keepLastLink: false, added: new Set() })?.parts.join('/') ?? ''}`
  const place = placeOf(path)
  return points.some((other) => other.role !== 'cwd' && place.startsWith(`${placeOf(other.path)}/`))
}
