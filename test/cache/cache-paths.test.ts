import t from 'tap'
import { CachePaths, entryKind, layerIdOf } from '../../src/cache/cache-paths.js'
import type { Digest } from '../../src/image/digest.js'

const paths = new CachePaths('/c')
const HEX = 'ab'.repeat(32)
const LONG = 'cd'.repeat(64)
const identity = { dev: '1', ino: '2', size: 3, mtimeNs: '4', ctimeNs: '5' }

t.test('CachePaths puts everything where DESIGN section 5 says', (t) => {
  t.equal(paths.tocPath(`sha256:${HEX}`), `/c/layers/sha256-${HEX}/toc`)
  t.equal(paths.dataPath(`sha512:${LONG}`), `/c/layers/sha512-${LONG}/data`)
  t.equal(paths.layerPath(`toc1:sha256:${HEX}`), `/c/layers/toc1-sha256-${HEX}`)
  t.equal(paths.rootfsPath(3, HEX), `/c/rootfs/v3/${HEX}.erofs`)
  t.equal(paths.blobPath(`sha256:${HEX}` as Digest), `/c/blobs/sha256/${HEX}`)
  t.match(paths.archiveRecordPath(identity), /^\/c\/archives\/[0-9a-f]{64}$/)
  t.match(paths.decodedArchivePath(identity), /^\/c\/decoded\/[0-9a-f]{64}$/)
  t.equal(paths.decodedArchivePath(HEX), `/c/decoded/${HEX}`)
  t.end()
})

t.test('CachePaths lets no name out of its place', (t) => {
  const layerIds = [
    '',
    '..',
    '.',
    '/',
    'sha256:..',
    `sha256:${HEX}/..`,
    `sha256:${HEX.toUpperCase()}`,
    `sha256:${HEX}\n`,
    `sha256-${HEX}`,
    `SHA256:${HEX}`,
    `sha256:${HEX}0`,
    `../:sha256:${HEX}`,
    `md5:${HEX}`,
    `sha256:${HEX}\0`,
  ]
  for (const layerId of layerIds) {
    t.throws(() => paths.layerPath(layerId), { code: 'IMAGE_INVALID' }, JSON.stringify(layerId))
  }
  for (const digest of ['sha256:../../../etc/passwd', '../x:y', 'sha256:', `sha256:${HEX}/x`]) {
    t.throws(() => paths.blobPath(digest as Digest), { code: 'IMAGE_INVALID' }, digest)
  }
  for (const key of ['', '..', 'a/b', 'a.b', 'a\n', 'x'.repeat(129)]) {
    t.throws(() => paths.rootfsPath(1, key), { code: 'INTERNAL' }, JSON.stringify(key))
    t.throws(() => paths.decodedArchivePath(key), { code: 'INTERNAL' }, JSON.stringify(key))
  }
  for (const version of [-1, 0.5, NaN, Infinity]) {
    t.throws(() => paths.rootfsPath(version, 'a'), { code: 'INTERNAL' }, String(version))
  }
  t.end()
})

t.test('entryKey() names the entry that a path belongs to', (t) => {
  const layer = `layers/sha256-${HEX}`
  const cases = [
    [paths.layerPath(`sha256:${HEX}`), layer, 'layer'],
    [paths.tocPath(`sha256:${HEX}`), layer, 'layer'],
    [layer, layer, 'layer'],
    [paths.rootfsPath(1, 'k'), 'rootfs/v1/k.erofs', 'rootfs'],
    [paths.blobPath(`sha256:${HEX}` as Digest), `blobs/sha256/${HEX}`, 'blob'],
    [`${paths.decodedArchivePath(HEX)}.sum`, `decoded/${HEX}`, 'decoded'],
    [`/c/archives/${HEX}`, `archives/${HEX}`, 'archive'],
  ] as const
  for (const [path, key, kind] of cases) {
    t.equal(paths.entryKey(path), key)
    t.equal(entryKind(key), kind)
    t.match(paths.markerPath(key), /^\/c\/used\/[^/]+$/)
  }
  for (const path of [
    '/c',
    '/c/layers',
    '/c/tmp/x',
    '/d',
    '/c/layers/../tmp/x',
    '/c/rootfs/v1',
    '',
  ]) {
    t.throws(() => paths.entryKey(path), { code: 'INTERNAL' }, path)
  }
  t.end()
})

t.test('layerIdOf() is the way back', (t) => {
  for (const layerId of [`sha256:${HEX}`, `sha512:${LONG}`, `toc1:sha256:${HEX}`]) {
    t.equal(layerIdOf(paths.layerPath(layerId).slice('/c/layers/'.length)), layerId)
  }
  for (const name of ['', 'sha256', `sha256:${HEX}`, `sha256-${HEX}x`])
    t.equal(layerIdOf(name), undefined)
  t.end()
})
