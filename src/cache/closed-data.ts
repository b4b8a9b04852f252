// The data of layers that nobody has mounted: how much there is of all data, and emptying what was used longest ago.

import { lstat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isOcimountError } from '../errors.js'
import { log } from '../logger.js'
import type { NativeBindings } from '../native.js'
import { layerIdOf, type CachePaths } from './cache-paths.js'
import { openDataParts } from './data-parts.js'
import { listEntries, namesOf } from './entries.js'
import { readLeases } from './lease.js'
import { DATA_MAP_NAME, DATA_NAME, encodeEmptyMap, PIECE_SIZE, pieceCount } from './piece-map.js'
import type { MapStore } from './piece-presence.js'
import { isMissing, storageError } from './storage-error.js'

/**
 * Gives the space on disk that the data of all layers takes.
 *
 * @throws OcimountError `STORAGE_FAILED`
 */
export async function dataBytes(paths: CachePaths): Promise<number> {
  const layers = join(paths.root, 'layers')
  const names = await namesOf(layers)
  const sizes = await Promise.all(names.map((name) => spaceOf(join(layers, name, DATA_NAME))))
  return sizes.reduce((sum, bytes) => sum + bytes, 0)
}

export interface EmptyClosedOptions {
  readonly native: NativeBindings
  /** How much is to become free. */
  readonly wantedBytes: number
  readonly storeOf: (layerId: string) => MapStore
}

/**
 * Empties data that no lease names and no process has locked, that used longest ago first. Gives the space that became free.
 *
 * What describes a layer stays, so that gzip layers need no new pass.
 *
 * @throws OcimountError `STORAGE_FAILED`, `STORAGE_FULL`, `CACHE_LOCKED`
 */
export async function emptyClosedData(
  paths: CachePaths,
  { native, wantedBytes, storeOf }: EmptyClosedOptions,
): Promise<number> {
  const layers = (await listEntries(paths)).filter(({ kind }) => kind === 'layer')
  layers.sort((a, b) => a.usedMs - b.usedMs || (a.key < b.key ? -1 : 1))
  const leased = await readLeases(paths.leasesPath)
  let freed = 0
  for (const { key, path } of layers) {
    if (freed >= wantedBytes) break
    const layerId = layerIdOf(basename(path))
    if (leased.has(key) || layerId === undefined) continue
    const before = await spaceOf(join(path, DATA_NAME))
    if (before === 0) continue
    try {
      await emptyData(path, native, storeOf(layerId))
    } catch (error) {
      if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
      log.debug({ path, why: error.message }, 'data that cannot be used was not emptied')
    }
    freed += Math.max(0, before - (await spaceOf(join(path, DATA_NAME))))
  }
  return freed
}

async function emptyData(
  directory: string,
  native: NativeBindings,
  store: MapStore,
): Promise<void> {
  const parts = await openDataParts(directory, { fills: true })
  if (parts === undefined) return
  const { handle, path, map, isWritable } = parts
  if (map.deviceSize === 0) return handle.close()
  try {
    // Whoever pinned it after the leases were read either has pieces locked or looks at the map later.
    if (!isWritable || !native.lockFile(handle.fd, 'write', 0, 0)) return
    await store.lock(async () => {
      const now = await lstat(path, { bigint: true })
      const own = await handle.stat({ bigint: true })
      if (now.ino !== own.ino || now.dev !== own.dev) return
      const mapPath = join(dirname(path), DATA_MAP_NAME)
      await store.writeSealed(mapPath, encodeEmptyMap(map.deviceSize))
      native.punchHole(handle.fd, 0, pieceCount(map.deviceSize) * PIECE_SIZE)
    })
  } catch (error) {
    throw storageError(error, 'empty', path)
  } finally {
    await handle.close()
  }
}

async function spaceOf(path: string): Promise<number> {
  try {
    return (await lstat(path)).blocks * 512
  } catch (error) {
    if (isMissing(error)) return 0
    throw storageError(error, 'look at', path)
  }
}
