// Gzip layers whose bytes are made when they are missed, with the addon.

import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Cache } from '../../src/cache/cache.js'
import { encodeDigests, PIECE_SIZE } from '../../src/cache/piece-map.js'
import { seal, unseal } from '../../src/cache/sealed-file.js'
import type { Digest } from '../../src/image/digest.js'
import { findIndexedLayer, indexLayer } from '../../src/layer/index-layer.js'
import type { LayerBlob } from '../../src/layer/layer-blob.js'
import { decodeSpanTable, encodeSpanTable } from '../../src/layer/span-table.js'
import { sha256 } from '../helpers/build-image.js'
import { addonSkipReason } from '../helpers/native-addon.js'
import { regionOf, writeBlob } from './blobs.js'
import {
  ALL_PIECES,
  claimedPieces,
  contentOf,
  GZIP,
  indexedLayer,
  openKnown,
  pieceBytes,
  readAt,
  TAR,
  watchFills,
} from './lazy-layer.js'

const skip = addonSkipReason()

t.test('a piece is made once for all who want it, and kept', { skip }, async (t) => {
  const { cache, blob } = await indexedLayer(t)
  const calls = watchFills(t)
  const device = await openKnown(blob, cache)
  await Promise.all(Array.from({ length: 20 }, (_, i) => readAt(device, 3 * PIECE_SIZE + i * 1000)))
  t.strictSame(calls, [[3]])
  t.equal(device.presentBytes?.(), PIECE_SIZE)
  await Promise.all([device.ensure?.(3, 2), device.ensure?.(4, 2), device.ensure?.(5, 1)])
  t.equal(new Set(calls.flat()).size, calls.flat().length, 'none twice')
  const native = device.native(0)
  if (native.kind !== 'pieces') throw new Error('not of pieces')
  for (const piece of [3, 4, 5]) t.ok((native.state[piece] ?? 0) >= 2)
  await device.close()
  const kept = claimedPieces(cache, blob)
  for (const piece of [3, 4, 5]) t.ok(kept.includes(piece))
  calls.length = 0
  const again = await openKnown(blob, cache)
  t.ok((await readAt(again, 4 * PIECE_SIZE)).equals(pieceBytes(4)))
  t.strictSame(calls, [])
  await again.close()
})

t.test('a reader from front to back is met by what was filled ahead', { skip }, async (t) => {
  const { cache, blob } = await indexedLayer(t)
  const calls = watchFills(t)
  const device = await openKnown(blob, cache)
  for (const piece of ALL_PIECES) {
    await readAt(device, piece * PIECE_SIZE)
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  await device.close()
  t.strictSame(calls.flat(), ALL_PIECES)
  t.ok(calls.length < ALL_PIECES.length, `${calls.length} calls`)
})

t.test('a flipped bit in span 3 fails the pieces that need it alone', { skip }, async (t) => {
  const { cache, blob } = await indexedLayer(t)
  const path = cache.blobIndexPath(blob.digest!)
  const { records } = decodeSpanTable(unseal(readFileSync(path), path))
  const at = Number(records.readBigUInt64LE(3 * 64 + 8)) + 500
  const damaged = Buffer.from(GZIP)
  damaged[at] = (damaged[at] ?? 0) ^ 4
  writeFileSync(blob.region.path, damaged)
  // The same digest in another file, as a damaged copy of the archive has it.
  const other = { ...blob, region: regionOf(blob.region.path) }
  const device = await openKnown(other, cache)
  const failed: number[] = []
  for (const piece of ALL_PIECES) {
    try {
      t.ok((await readAt(device, piece * PIECE_SIZE)).equals(pieceBytes(piece)))
    } catch (error) {
      t.match(error, { code: 'DIGEST_MISMATCH' })
      failed.push(piece)
    }
  }
  const from = Math.floor(Number(records.readBigUInt64LE(3 * 64)) / PIECE_SIZE)
  const to = Math.floor((Number(records.readBigUInt64LE(4 * 64)) - 1) / PIECE_SIZE)
  const needy = ALL_PIECES.filter((piece) => piece >= from && piece <= to)
  t.strictSame(failed, needy)
  const faults = device.faults?.() ?? []
  t.strictSame(faults.map(({ piece }) => piece).sort(), needy)
  for (const { spans = '' } of faults) t.match(spans, /^\d(-\d)?$/)
  await t.rejects(async () => device.ensure?.(0, ALL_PIECES.length), { code: 'DIGEST_MISMATCH' })
  await device.close()
  const kept = ALL_PIECES.filter((piece) => !needy.includes(piece))
  t.strictSame(claimedPieces(cache, blob), kept)
})

t.test('a file that changes while it is mounted is told as that', { skip }, async (t) => {
  const { cache, blob } = await indexedLayer(t)
  const device = await openKnown(blob, cache)
  await readAt(device, 0)
  truncateSync(blob.region.path, 1000)
  await t.rejects(readAt(device, 7 * PIECE_SIZE), { code: 'SOURCE_CHANGED' })
  t.ok((await readAt(device, 0)).equals(pieceBytes(0)), 'what the cache has stays readable')
  await device.close()
  await t.rejects(openKnown(blob, cache), { code: 'SOURCE_CHANGED' })
})

t.test('a blob without a digest is known again by where it lies', { skip }, async (t) => {
  const { cache, blob } = await indexedLayer(t, GZIP, { digest: undefined, around: 512 })
  t.ok(statSync(cache.blobIndexPath(sha256(GZIP) as Digest)).size > 0)
  const calls = watchFills(t)
  t.ok((await contentOf(await openKnown(blob, cache))).equals(TAR))
  t.ok(calls.length > 0)
  const { blob: other, cache: fresh } = await indexedLayer(t, GZIP, { digest: undefined })
  const moved = writeBlob(`${other.region.path}2`, GZIP, { tar: TAR, digest: undefined })
  t.equal(await findIndexedLayer(moved, fresh), undefined, 'nobody looked at the other file')
})

t.test('what was cut, forged or lost is made again', { skip }, async (t) => {
  const forged = (change: (payload: Buffer) => unknown) => (path: string) => {
    const payload = Buffer.from(unseal(readFileSync(path), path))
    change(payload)
    writeFileSync(path, Buffer.concat([payload, seal([payload])]))
  }
  const cut = (length: number) => (path: string) => {
    truncateSync(path, length)
  }
  const lost = (path: string): void => {
    rmSync(path)
  }
  type Place = (cache: Cache, blob: LayerBlob) => string
  const index: Place = (cache, blob) => cache.blobIndexPath(blob.digest!)
  const part =
    (name: string): Place =>
    (cache, blob) =>
      join(cache.layerPath(blob.diffId), name)
  const cases: readonly (readonly [string, Place, (path: string) => void])[] = [
    ['blob-index cut', index, cut(500)],
    ['blob-index lost', index, lost],
    ['blob-index of another version', index, forged((bytes) => bytes.writeUInt32LE(9, 8))],
    ['blob-index of another layer', index, forged((bytes) => bytes.write('00', 70))],
    ['data.map cut', part('data.map'), cut(5)],
    ['digests cut', part('digests'), cut(50)],
    ['digests lost', part('digests'), lost],
    ['data cut', part('data'), cut(2 * PIECE_SIZE + 5)],
    ['data lost', part('data'), lost],
    ['toc lost', part('toc'), lost],
  ]
  for (const [name, place, damage] of cases) {
    await t.test(name, async (t) => {
      const { cache, blob } = await indexedLayer(t)
      const first = await openKnown(blob, cache)
      await readAt(first, 0, 4 * PIECE_SIZE)
      await first.close()
      damage(place(cache, blob))
      const layer = await indexLayer(blob, { cache })
      t.ok((await contentOf(await layer.openDevice())).equals(TAR))
      t.equal(layer.toc.entries.length, 2)
      t.strictSame((await cache.verify({ keep: true })).bad, [])
    })
  }
})

t.test('a right seal over wrong content gives errors, never bytes', { skip }, async (t) => {
  const { cache, blob } = await indexedLayer(t)
  const path = cache.blobIndexPath(blob.digest!)
  const table = decodeSpanTable(Buffer.from(unseal(readFileSync(path), path)))
  const windows = Buffer.alloc(table.windows.length, 0xee)
  await cache.writeSealed(path, encodeSpanTable({ ...table, windows }))
  const device = await openKnown(blob, cache)
  let errors = 0
  for (const piece of ALL_PIECES) {
    try {
      t.ok((await readAt(device, piece * PIECE_SIZE)).equals(pieceBytes(piece)))
    } catch (error) {
      t.match(error, { code: 'CACHE_CORRUPT' })
      errors++
    }
  }
  t.ok(errors > 0)
  await device.close()
  await cache.writeSealed(path, encodeSpanTable(table))
  const digests = [Buffer.alloc(ALL_PIECES.length * 32, 1)]
  const digestsPath = join(cache.layerPath(blob.diffId), 'digests')
  await cache.writeSealed(digestsPath, encodeDigests(TAR.length, digests))
  const forged = await openKnown(blob, cache)
  await t.rejects(readAt(forged, 7 * PIECE_SIZE), { code: 'CACHE_CORRUPT' })
  await forged.close()
})

t.test('a present piece that went bad is made again', { skip }, async (t) => {
  const { cache, blob } = await indexedLayer(t)
  await contentOf(await openKnown(blob, cache))
  const data = readFileSync(cache.dataPath(blob.diffId))
  data[2 * PIECE_SIZE + 7] = (data[2 * PIECE_SIZE + 7] ?? 0) ^ 1
  writeFileSync(cache.dataPath(blob.diffId), data)
  const calls = watchFills(t)
  t.ok((await contentOf(await openKnown(blob, cache))).equals(TAR))
  t.strictSame(calls, [[2]])
  t.strictSame((await cache.verify({ keep: true })).bad, [])
})

t.test('du counts the blocks of a sparse layer, prune takes its index too', { skip }, async (t) => {
  const { cache, blob } = await indexedLayer(t)
  const { kinds } = await cache.diskUsage()
  t.ok(kinds.layer.bytes < 200_000)
  t.equal(kinds['blob-index'].entries, 1)
  t.ok(kinds['blob-index'].bytes > 0)
  const { removed } = await cache.prune({ maxBytes: 0 })
  t.ok(removed.some(({ kind }) => kind === 'blob-index'))
  t.equal(await findIndexedLayer(blob, cache), undefined)
  const layer = await indexLayer(blob, { cache })
  t.ok((await contentOf(await layer.openDevice())).equals(TAR))
})
