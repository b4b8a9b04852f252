// Leases: what a running process needs, so that nobody prunes it. <root>/leases/<owner>-<16 hex digits> holds entry
// keys, one a line. A lease counts while its owner is not known to be dead.
//
// Order: pin first, then look. prune moves an entry away, reads the leases after that and puts back what is named
// by then. So whoever pinned before the move keeps the entry, and whoever pinned after it finds nothing and makes it.

import { createHash } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FILE_MODE, withParent } from './durable.js'
import { removeAtExit } from './exit-cleanup.js'
import { judgeOwner } from './process-owner.js'
import { temporaryPath } from './staging.js'
import { isMissing, storageError } from './storage-error.js'
import { ownedPaths } from './sweep.js'

/** Keeps entries from being pruned until it is released or its process has ended. */
export class Pin {
  /** Keys of the entries. */
  readonly keys: readonly string[]
  readonly #path: string
  readonly #forget: () => void

  private constructor(path: string, keys: readonly string[]) {
    this.keys = keys
    this.#path = path
    this.#forget = removeAtExit(path)
  }

  /** @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED` */
  static async create(
    place: { leases: string; tmp: string },
    keys: readonly string[],
  ): Promise<Pin> {
    const temporary = temporaryPath(place.tmp)
    const path = temporaryPath(place.leases)
    try {
      const content = keys.map((key) => `${key}\n`).join('')
      await withParent(temporary, () => writeFile(temporary, content, { mode: FILE_MODE }))
      // By rename, so that a reader never sees half of it. No fsync: it does not outlive this boot.
      await withParent(path, () => rename(temporary, path))
    } catch (error) {
      throw storageError(error, 'write', path)
    }
    return new Pin(path, keys)
  }

  /** Ends the protection; harmless when repeated. */
  async release(): Promise<void> {
    this.#forget()
    try {
      await rm(this.#path, { force: true })
    } catch (error) {
      throw storageError(error, 'remove', this.#path)
    }
  }
}

/**
 * Keeps entries from being pruned under a name, for good; without any, forgets the name.
 *
 * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`
 */
export async function keepEntries(
  place: { leases: string; tmp: string },
  name: string,
  keys: readonly string[],
): Promise<void> {
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 16)
  const path = join(place.leases, `${KEPT}-${hash}`)
  try {
    if (keys.length === 0) {
      await rm(path, { force: true })
      return
    }
    const temporary = temporaryPath(place.tmp)
    const content = keys.map((key) => `${key}\n`).join('')
    await withParent(temporary, () =>
      writeFile(temporary, content, { mode: FILE_MODE, flush: true }),
    )
    await withParent(path, () => rename(temporary, path))
  } catch (error) {
    throw storageError(error, 'write', path)
  }
}

/** The owner in the name of a lease that no process holds. */
const KEPT = 'kept'

/** Gives the keys that leases name now, and removes leases whose owner is dead. */
export async function readLeases(leasesDirectory: string): Promise<Set<string>> {
  const keys = new Set<string>()
  for (const { path, owner } of ownedPaths(leasesDirectory)) {
    try {
      if (owner !== KEPT && judgeOwner(owner) === 'dead') {
        await rm(path, { force: true })
        continue
      }
      for (const key of (await readFile(path, 'utf8')).split('\n')) keys.add(key)
    } catch (error) {
      // Released between the two calls; a lease that cannot be read must stop the caller.
      if (!isMissing(error)) throw storageError(error, 'read', path)
    }
  }
  keys.delete('')
  return keys
}
