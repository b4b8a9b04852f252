// Clears what dead processes left in tmp and leases. One readdir and, per name, one look at /proc.

import { lstatSync, readdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../errors.js'
import { log } from '../logger.js'
import { judgeOwner, type OwnerState } from './process-owner.js'
import { isMissing, storageError } from './storage-error.js'

// Owners in another pid namespace cannot be asked. What they have not touched for a week is taken for dead.
const FOREIGN_PATIENCE_MS = 7 * 24 * 3600 * 1000

/** Gives the names in a directory whose last part after the owner's tag is cut off: the owner, and its path. */
export function ownedPaths(directory: string): { path: string; owner: string }[] {
  let names: string[]
  try {
    names = readdirSync(directory)
  } catch (error) {
    if (isMissing(error)) return []
    throw storageError(error, 'read', directory)
  }
  return names.map((name) => ({
    path: join(directory, name),
    owner: name.slice(0, Math.max(0, name.lastIndexOf('-'))),
  }))
}

/** Gives the paths in the tmp directory whose owner is dead. */
export function findAbandoned(tmpDirectory: string): string[] {
  const judged = new Map<string, OwnerState>()
  const abandoned: string[] = []
  for (const { path, owner } of ownedPaths(tmpDirectory)) {
    const state = judged.get(owner) ?? judgeOwner(owner)
    judged.set(owner, state)
    if (state === 'dead' || (state === 'unknown' && isOld(path))) abandoned.push(path)
  }
  return abandoned
}

/** Removes files and directories; one that cannot be removed is left for the next sweep, with a line in the log. */
export async function removeAbandoned(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    try {
      await rm(path, { recursive: true, force: true })
    } catch (error) {
      log.debug({ path, why: messageOf(error) }, 'could not remove what a dead process left')
    }
  }
}

function isOld(path: string): boolean {
  try {
    return Date.now() - lstatSync(path).mtimeMs > FOREIGN_PATIENCE_MS
  } catch (error) {
    if (isMissing(error)) return false
    throw storageError(error, 'look at', path)
  }
}
