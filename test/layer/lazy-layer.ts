// A gzip layer in a cache of its own, for the tests of lazy layers.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { decodeMap, hasPiece, PIECE_SIZE } from '../../src/cache/piece-map.js'
import { unseal } from '../../src/cache/sealed-file.js'
import type { LayerDevice } from '../../src/layer/device.js'
import { findIndexedLayer, indexLayer } from '../../src/layer/index-layer.js'
import type { LayerBlob } from '../../src/layer/layer-blob.js'
import { buildTar, file } from '../helpers/build-tar.js'
import { addon, fixtureDirectory, layerLikeBytes } from '../helpers/native-addon.js'
import { writeBlob, type BlobOptions } from './blobs.js'

export const TAR = buildTar([
  file('a', layerLikeBytes(5 * PIECE_SIZE, 1)),
  file('b', layerLikeBytes(4_000_001, 2)),
])
export const GZIP = gzipSync(TAR)
export const ALL_PIECES = Array.from({ length: Math.ceil(TAR.length / PIECE_SIZE) }, (_, n) => n)

const SAMPLE = 100

/** Indexes a layer of {@link TAR} in a fresh cache. */
export async function indexedLayer(
  t: Test,
  stored: Buffer = GZIP,
  options: BlobOptions = {},
): Promise<{ cache: Cache; blob: LayerBlob }> {
  const directory = fixtureDirectory(t)
  const cache = await Cache.open({ dir: join(directory, 'cache') })
  const blob = writeBlob(join(directory, 'blob'), stored, { tar: TAR, ...options })
  await indexLayer(blob, { cache })
  return { cache, blob }
}

/** Opens a layer that the cache must know. */
export async function openKnown(blob: LayerBlob, cache: Cache): Promise<LayerDevice> {
  const known = await findIndexedLayer(blob, cache)
  if (known === undefined) throw new Error('the layer is not known')
  return known.openDevice()
}

export async function readAt(
  device: LayerDevice,
  offset: number,
  length = SAMPLE,
): Promise<Buffer> {
  const bytes = Buffer.alloc(length)
  await device.read(bytes, offset)
  return bytes
}

/** What `readAt` must give at the start of a piece. */
export function pieceBytes(piece: number): Buffer {
  return TAR.subarray(piece * PIECE_SIZE, piece * PIECE_SIZE + SAMPLE)
}

/** Reads everything and closes the device. */
export async function contentOf(device: LayerDevice): Promise<Buffer> {
  try {
    return await readAt(device, 0, device.size)
  } finally {
    await device.close()
  }
}

/** Gives the pieces that the map on disk claims. */
export function claimedPieces(cache: Cache, { diffId }: LayerBlob): number[] {
  const path = join(cache.layerPath(diffId), 'data.map')
  const { present } = decodeMap(unseal(readFileSync(path), path), path)
  return ALL_PIECES.filter((piece) => hasPiece(present, piece))
}

/** Gives a list that grows by the pieces of each call of the addon. */
export function watchFills(t: Test): number[][] {
  const calls: number[][] = []
  const bindings = addon() as { fillPieces: ReturnType<typeof addon>['fillPieces'] }
  const { fillPieces } = bindings
  bindings.fillPieces = (options) => {
    const count = options.pieceDigests.length / 32
    calls.push(Array.from({ length: count }, (_, index) => options.firstPiece + index))
    return fillPieces(options)
  }
  t.teardown(() => {
    bindings.fillPieces = fillPieces
  })
  return calls
}
