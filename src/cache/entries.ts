// Walks the entries of a cache: what prune removes, du counts and verify checks, each as one.

import type { Stats } from 'node:fs'
import { lstat, readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemErrorCode } from '../errors.js'
import { log } from '../logger.js'
import { entryKind, type CachePaths, type EntryKind } from './cache-paths.js'
import { sumPath } from './decoded-archive.js'
import { FILE_MODE, withParent } from './durable.js'
import { isMissing, storageError } from './storage-error.js'

export interface CacheEntry {
  readonly key: string
  readonly kind: EntryKind
  readonly path: string
  /** Space taken on disk, which for a sparse file is less than its length. */
  readonly bytes: number
  /** When it was last used or made, as far as anybody noted it. */
  readonly usedMs: number
}

/** Lists all entries; names that are none are left out. */
export async function listEntries(paths: CachePaths): Promise<CacheEntry[]> {
  const entries: CacheEntry[] = []
  for (const key of await listKeys(paths)) {
    const entry = await describe(paths, key)
    if (entry !== undefined) entries.push(entry)
  }
  return entries
}

/** Gives the keys of all entries, in order. */
export async function listKeys(paths: CachePaths): Promise<string[]> {
  const keys = new Set<string>()
  for (const { directory, depth } of PLACES) {
    for (const key of await namesBelow(paths.root, directory, depth)) {
      const entryKey = key.replace(/\.sum$/, '')
      if (entryKind(entryKey) !== undefined) keys.add(entryKey)
    }
  }
  return [...keys].sort()
}

/** Gives space and last use of one entry, or undefined when it is gone. */
async function describe(paths: CachePaths, key: string): Promise<CacheEntry | undefined> {
  const kind = entryKind(key)
  const path = join(paths.root, key)
  const stats = await statIfPresent(path)
  const sum = kind === 'decoded' ? await statIfPresent(sumPath(path)) : undefined
  if (kind === undefined || (stats === undefined && sum === undefined)) return undefined
  const marker = await statIfPresent(paths.markerPath(key))
  const newest = [stats, sum, marker].map((file) => file?.mtimeMs ?? 0)
  let bytes = blocksOf(stats) + blocksOf(sum)
  if (stats?.isDirectory() === true) bytes += await spaceBelow(path)
  return { key, kind, path, bytes, usedMs: Math.max(...newest) }
}

/**
 * Notes that entries are used now. Never fails a reader: where it cannot be written, the order of pruning is
 * all that suffers.
 */
export async function touchEntries(paths: CachePaths, keys: readonly string[]): Promise<void> {
  const now = new Date()
  await Promise.all(
    keys.map(async (key) => {
      const marker = paths.markerPath(key)
      try {
        await utimes(marker, now, now)
      } catch (error) {
        try {
          if (systemErrorCode(error) !== 'ENOENT') throw error
          await withParent(marker, () => writeFile(marker, '', { mode: FILE_MODE }))
        } catch (cause) {
          log.debug({ key, why: String(cause) }, 'could not note the use of an entry')
        }
      }
    }),
  )
}

/** Gives the space that a directory's content takes, without the directory itself; links are not followed. */
export async function spaceBelow(directory: string): Promise<number> {
  let bytes = 0
  for (const name of await namesOf(directory)) {
    const path = join(directory, name)
    const stats = await statIfPresent(path)
    bytes += blocksOf(stats)
    if (stats?.isDirectory() === true) bytes += await spaceBelow(path)
  }
  return bytes
}

/** Gives the names in a directory, in order; none when it is missing or no directory. */
export async function namesOf(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort()
  } catch (error) {
    if (isMissing(error)) return []
    throw storageError(error, 'read', directory)
  }
}

async function namesBelow(root: string, directory: string, depth: number): Promise<string[]> {
  const names = await namesOf(join(root, directory))
  const paths = names.map((name) => `${directory}/${name}`)
  if (depth === 1) return paths
  const below = await Promise.all(paths.map((path) => namesBelow(root, path, depth - 1)))
  return below.flat()
}

async function statIfPresent(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw storageError(error, 'look at', path)
  }
}

function blocksOf(stats: Stats | undefined): number {
  return (stats?.blocks ?? 0) * BLOCK_SIZE
}

// Of st_blocks, whatever the filesystem's own block size is.
const BLOCK_SIZE = 512
const PLACES = [
  { directory: 'layers', depth: 1 },
  { directory: 'blob-index', depth: 2 },
  { directory: 'rootfs', depth: 2 },
  { directory: 'archives', depth: 1 },
  { directory: 'decoded', depth: 1 },
  { directory: 'blobs', depth: 2 },
  { directory: 'partial', depth: 2 },
]
