// Makes room: the entries used longest ago go first, never one that a live lease names (lease.ts has the protocol).

import { rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { messageOf } from '../errors.js'
import { log } from '../logger.js'
import type { CachePaths, EntryKind } from './cache-paths.js'
import { sumPath } from './decoded-archive.js'
import { listEntries, listKeys, namesOf, type CacheEntry } from './entries.js'
import { readLeases } from './lease.js'
import { clearDeadLock } from './lock.js'
import { lstatIfPresent } from './sealed-file.js'
import { Staging } from './staging.js'
import { interruptedError, isMissing, storageError } from './storage-error.js'
import { findAbandoned, removeAbandoned } from './sweep.js'

export interface PruneOptions {
  /** Space on disk that entries may take afterwards. */
  readonly maxBytes: number
  /** Tells what would go and leaves it. */
  readonly dryRun?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

export interface PrunedEntry {
  readonly key: string
  readonly kind: EntryKind
  readonly bytes: number
}

export interface PruneResult {
  readonly removed: readonly PrunedEntry[]
  readonly freedBytes: number
  /** Space that entries take now; above the limit when what is in use takes more. */
  readonly remainingBytes: number
  /** Keys that stay only because something uses them. */
  readonly inUse: readonly string[]
}

/**
 * Removes entries until the rest fits, and what dead processes left.
 *
 * @throws OcimountError `STORAGE_FAILED`, `INTERRUPTED`
 */
export async function pruneCache(paths: CachePaths, options: PruneOptions): Promise<PruneResult> {
  const { maxBytes, dryRun = false, signal } = options
  const entries = await listEntries(paths)
  entries.sort((a, b) => a.usedMs - b.usedMs || (a.key < b.key ? -1 : 1))
  const leased = await readLeases(paths.leasesPath)
  let remainingBytes = entries.reduce((sum, entry) => sum + entry.bytes, 0)
  const removed: PrunedEntry[] = []
  const inUse: string[] = []
  const trash = dryRun ? undefined : await Staging.create(paths.tmpPath)
  try {
    for (const entry of entries) {
      if (remainingBytes <= maxBytes) break
      if (signal?.aborted === true) throw interruptedError('prune', paths.root, signal.reason)
      const isLeased = leased.has(entry.key)
      if (isLeased || (trash !== undefined && !(await removeEntry(paths, entry, trash)))) {
        inUse.push(entry.key)
        continue
      }
      removed.push({ key: entry.key, kind: entry.kind, bytes: entry.bytes })
      remainingBytes -= entry.bytes
    }
  } finally {
    await trash?.remove()
  }
  if (!dryRun) {
    await removeAbandoned(findAbandoned(paths.tmpPath))
    await removeStrays(paths)
  }
  const freedBytes = removed.reduce((sum, entry) => sum + entry.bytes, 0)
  return { removed, freedBytes, remainingBytes, inUse }
}

/** Removes one entry, or puts it back and gives false when it was pinned meanwhile. */
async function removeEntry(paths: CachePaths, entry: CacheEntry, trash: Staging): Promise<boolean> {
  // The sum goes first: without it the archive does not count.
  const files = entry.kind === 'decoded' ? [sumPath(entry.path), entry.path] : [entry.path]
  const moved: { from: string; to: string }[] = []
  for (const from of files) {
    const to = join(trash.path, basename(from))
    if (await moveIfPresent(from, to)) moved.push({ from, to })
  }
  if ((await readLeases(paths.leasesPath)).has(entry.key)) {
    // The user of the lease may have made it again by now; then ours is the one to go.
    for (const { from, to } of moved.reverse()) await moveBack(to, from)
    return false
  }
  try {
    for (const { to } of moved) await rm(to, { recursive: true, force: true })
    await rm(paths.markerPath(entry.key), { force: true })
  } catch (error) {
    throw storageError(error, 'remove', entry.path)
  }
  return true
}

async function moveIfPresent(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to)
    return true
  } catch (error) {
    if (isMissing(error)) return false
    throw storageError(error, 'remove', from)
  }
}

async function moveBack(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    log.debug({ path: to, why: messageOf(error) }, 'an entry was made again while it was pruned')
  }
}

/** Removes the marks of entries that are gone, and the locks and claims of the dead. */
async function removeStrays(paths: CachePaths): Promise<void> {
  const marks = new Set((await listKeys(paths)).map((key) => basename(paths.markerPath(key))))
  const used = join(paths.root, 'used')
  const stray = (await namesOf(used)).filter((name) => !marks.has(name))
  for (const name of stray) await rm(join(used, name), { force: true })
  for (const name of await namesOf(paths.locksPath)) {
    const lock = join(paths.locksPath, CLAIM.exec(name)?.[1] ?? name)
    if ((await lstatIfPresent(lock)) !== undefined) {
      await clearDeadLock({ path: lock, tmp: paths.tmpPath })
    } else if (lock !== join(paths.locksPath, name)) {
      // A lock that is gone never comes back with the token in the name of this claim.
      await rm(join(paths.locksPath, name), { force: true })
    }
  }
}

const CLAIM = /^(.+)\.(?:[0-9a-f]{16}|torn)\.\d+$/
