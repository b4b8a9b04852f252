import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import t from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { listEntries } from '../../src/cache/entries.js'
import { currentOwnerTag } from '../../src/cache/process-owner.js'
import { digestOf } from '../../src/image/digest.js'
import { fillLayer, writeLayer } from './layers.js'
import { startChild } from './processes.js'

/** Makes one entry of each kind, the first of them used longest ago; gives their keys in that order. */
async function fillCache(cache: Cache): Promise<string[]> {
  const { layerId } = await writeLayer(cache, fillLayer(1, 300_000))
  await cache.writeSealed(cache.tocPath(layerId), [Buffer.from('toc')])
  const rootfs = cache.rootfsPath(3, 'key')
  await cache.writeSealed(rootfs, [fillLayer(2, 100_000)])
  const identity = { dev: '1', ino: '2', size: 10, mtimeNs: '3', ctimeNs: '4' }
  await cache.mergeArchiveRecord(identity, [
    { form: 'plain', offset: 0, length: 10, diffId: layerId },
  ])
  const staging = await cache.stage()
  writeFileSync(join(staging.path, 'archive'), fillLayer(3, 200_000))
  const sha256 = digestOf(fillLayer(3, 200_000)).slice(7)
  const decoded = await cache.publishDecodedArchive(staging, 'archive', {
    source: identity,
    sha256,
  })
  await staging.remove()
  const bytes = fillLayer(4, 50_000)
  const blob = await cache.putBlob(digestOf(bytes), [bytes], { size: bytes.length })
  const paths = [cache.layerPath(layerId), rootfs, cache.archiveRecordPath(identity), decoded, blob]
  await cache.touch(paths)
  const keys = paths.map((path) => cache.entryKey(path))
  for (const [index, key] of keys.entries()) {
    // Everything was made long ago; the marks alone tell the order.
    const path = join(cache.root, key)
    utimesSync(path, 1, 1)
    if (existsSync(`${path}.sum`)) utimesSync(`${path}.sum`, 1, 1)
    utimesSync(cache.markerPath(key), 1000 + index, 1000 + index)
  }
  return keys
}

t.test('prune() removes what was used longest ago, as much as it takes', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const keys = await fillCache(cache)
  const before = await listEntries(cache)
  const total = before.reduce((sum, { bytes }) => sum + bytes, 0)
  t.strictSame(await cache.prune({ maxBytes: total }), {
    removed: [],
    freedBytes: 0,
    remainingBytes: total,
    inUse: [],
  })
  const sizes = new Map(before.map(({ key, bytes }) => [key, bytes]))
  const two = keys.slice(0, 2).map((key) => sizes.get(key) ?? 0)
  const freedBytes = (two[0] ?? 0) + (two[1] ?? 0)
  const want = {
    removed: [
      { key: keys[0], kind: 'layer', bytes: two[0] },
      { key: keys[1], kind: 'rootfs', bytes: two[1] },
    ],
    freedBytes,
    remainingBytes: total - freedBytes,
    inUse: [],
  }
  const maxBytes = total - freedBytes
  t.strictSame(await cache.prune({ maxBytes, dryRun: true }), want)
  t.equal((await listEntries(cache)).length, 5, 'a dry run removes nothing')
  t.strictSame(await cache.prune({ maxBytes }), want)
  t.strictSame(
    (await listEntries(cache)).map(({ key }) => key),
    keys.slice(2).sort(),
  )
  t.equal(readdirSync(join(cache.root, 'used')).length, 3, 'marks go with their entries')
  t.equal((await cache.prune({ maxBytes: 0 })).removed.length, 3)
  t.strictSame(await listEntries(cache), [])
  const { totalBytes } = await cache.diskUsage()
  t.equal(totalBytes, 0)
})

t.test('prune() keeps what this process or a living one has pinned', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const keys = await fillCache(cache)
  const [layer = '', rootfs = '', archive = '', decoded = '', blob = ''] = keys
  const child = startChild(t, 'pin', cache.root, [layer, decoded, blob].join(','))
  await child.nextLine()
  const pin = await cache.pin([join(cache.root, rootfs)])
  const staging = readdirSync(cache.tmpPath)
  t.equal(staging.length, 1)
  const result = await cache.prune({ maxBytes: 0 })
  t.strictSame(
    result.removed.map(({ key }) => key),
    [archive],
  )
  t.strictSame(result.inUse, [layer, rootfs, decoded, blob])
  t.strictSame(readdirSync(cache.tmpPath), staging, 'staging of a living process stays')
  t.strictSame((await cache.verify({ keep: true })).bad, [], 'what was kept is whole')
  child.process.kill('SIGKILL')
  await child.ended
  const next = await cache.prune({ maxBytes: 0 })
  t.strictSame(
    next.removed.map(({ key }) => key),
    [layer, decoded, blob],
    'dead leases do not count',
  )
  t.strictSame(next.inUse, [rootfs])
  t.strictSame(readdirSync(cache.tmpPath), [], 'staging of a dead process goes')
  await pin.release()
  await pin.release()
  t.strictSame(
    (await cache.prune({ maxBytes: 0 })).removed.map(({ key }) => key),
    [rootfs],
  )
  t.strictSame(readdirSync(cache.leasesPath), [])
})

t.test('prune() puts back what is pinned while it is on its way out', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const keys = await fillCache(cache)
  // The lease appears just after the first entry was moved away.
  const rename = fs.rename
  t.teardown(() => {
    fs.rename = rename
    syncBuiltinESMExports()
  })
  fs.rename = async (from, to) => {
    await rename(from, to)
    fs.rename = rename
    syncBuiltinESMExports()
    const lease = `${currentOwnerTag()}-0123456789abcdef`
    writeFileSync(join(cache.leasesPath, lease), `${keys.join('\n')}\n`)
  }
  syncBuiltinESMExports()
  const result = await cache.prune({ maxBytes: 0 })
  t.strictSame({ removed: result.removed, inUse: result.inUse }, { removed: [], inUse: keys })
  t.equal((await listEntries(cache)).length, 5)
  t.strictSame((await cache.verify({ keep: true })).bad, [])
})

t.test('prune() stops when its signal says so', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  await fillCache(cache)
  await t.rejects(cache.prune({ maxBytes: 0, signal: AbortSignal.abort() }), {
    code: 'INTERRUPTED',
  })
  t.equal((await listEntries(cache)).length, 5)
  t.strictSame(readdirSync(cache.tmpPath), [])
})

t.test('prune() leaves what is not an entry', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  mkdirSync(join(cache.root, 'layers', 'my-notes'))
  writeFileSync(join(cache.root, 'notes.txt'), 'mine')
  await cache.prune({ maxBytes: 0 })
  t.ok(existsSync(join(cache.root, 'layers', 'my-notes')))
  t.ok(existsSync(join(cache.root, 'notes.txt')))
})

t.test('pin() and touch() refuse paths that are no entries', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  for (const path of [
    cache.root,
    '/etc/passwd',
    join(cache.root, 'layers'),
    `${cache.root}/../x`,
  ]) {
    await t.rejects(cache.pin([path]), { code: 'INTERNAL' }, path)
    await t.rejects(cache.touch([path]), { code: 'INTERNAL' }, path)
  }
})

t.test('diskUsage() counts blocks that are there', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  await fillCache(cache)
  const { kinds, staging, totalBytes } = await cache.diskUsage()
  const bytes = Object.values(kinds).reduce((sum, kind) => sum + kind.bytes, 0)
  t.strictSame(
    Object.entries(kinds).map(([kind, { entries }]) => [kind, entries]),
    [
      ['layer', 1],
      ['blob-index', 0],
      ['rootfs', 1],
      ['archive', 1],
      ['decoded', 1],
      ['blob', 1],
      ['partial', 0],
    ],
  )
  t.ok(kinds.layer.bytes >= 300_000 && kinds.layer.bytes < 400_000)
  t.strictSame(staging, { entries: 0, bytes: 0 })
  t.equal(totalBytes, bytes)
})
