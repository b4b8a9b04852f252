// Work in progress: <root>/tmp/<owner>-<16 hex digits>, a directory or file that only its owner touches. It moves
// into place whole. What a dead owner left is swept by whoever opens the cache next.

import { randomBytes } from 'node:crypto'
import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { isOcimountError, OcimountError } from '../errors.js'
import {
  placeNewFile,
  replaceFile,
  syncDirectory,
  syncTree,
  withParent,
  DIRECTORY_MODE,
} from './durable.js'
import { removeAtExit } from './exit-cleanup.js'
import {
  DATA_MAP_NAME,
  DATA_NAME,
  decodeMap,
  DIGESTS_NAME,
  isWholeMap,
  type PieceMap,
} from './piece-map.js'
import { currentOwnerTag } from './process-owner.js'
import { readSealedFile } from './sealed-file.js'
import { isExisting, storageError } from './storage-error.js'

/** What became of something that was published: it is in place, or another process had been faster. */
export type Published = 'published' | 'kept'

/** Gives a fresh name below the cache's tmp directory, which stands for this process. */
export function temporaryPath(tmpDirectory: string): string {
  return join(tmpDirectory, `${currentOwnerTag()}-${randomBytes(8).toString('hex')}`)
}

/** A private directory on the filesystem of the cache. */
export class Staging {
  /** The directory; files in it may be made and changed freely. */
  readonly path: string
  readonly #keep: () => void

  private constructor(path: string) {
    this.path = path
    this.#keep = removeAtExit(path)
  }

  /** @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED` */
  static async create(tmpDirectory: string): Promise<Staging> {
    const path = temporaryPath(tmpDirectory)
    try {
      await withParent(path, () => mkdir(path, DIRECTORY_MODE).then(() => undefined))
    } catch (error) {
      throw storageError(error, 'make', path)
    }
    return new Staging(path)
  }

  /**
   * Makes a file or directory durable and moves it from here to its place in the cache.
   *
   * `from` is relative to the staging directory (`.` is all of it) or an absolute path in it. What is there
   * already stays, since equal names have equal content: an existing file is kept, and a directory gets only the
   * files that it lacks. The data of a layer counts as lacking while its `data.map` does; sparse data gives way to whole.
   *
   * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`
   */
  async publish(from: string, to: string): Promise<Published> {
    const source = resolve(this.path, from)
    if (!isAbsolute(to) || !(source === this.path || source.startsWith(`${this.path}/`))) {
      throw new OcimountError('INTERNAL', `Cannot publish ${from}: it is not in ${this.path}`)
    }
    await syncTree(source)
    try {
      const isDirectory = (await lstat(source)).isDirectory()
      if (!isDirectory) return (await placeNewFile(source, to)) ? 'published' : 'kept'
      return await publishDirectory(source, to)
    } catch (error) {
      throw storageError(error, 'write', to)
    }
  }

  /** Removes the directory and what is left in it. */
  async remove(): Promise<void> {
    this.#keep()
    try {
      await rm(this.path, { recursive: true, force: true })
    } catch (error) {
      throw storageError(error, 'remove', this.path)
    }
  }
}

async function publishDirectory(from: string, to: string): Promise<Published> {
  try {
    await withParent(to, () => rename(from, to))
    await syncDirectory(dirname(to))
    return 'published'
  } catch (error) {
    if (!isExisting(error)) throw error
  }
  // Some of it is there: a layer that was indexed without its data, or whose data was dropped as corrupt.
  const names = new Set(await readdir(from))
  let result: Published = 'kept'
  if (names.has(DATA_MAP_NAME)) {
    if (await isReplaceable(from, to)) {
      // Without the map the other two are leftovers of a crash; with it the digests are the same.
      await rename(join(from, DATA_NAME), join(to, DATA_NAME))
      await rename(join(from, DIGESTS_NAME), join(to, DIGESTS_NAME))
      await syncDirectory(to)
      await replaceFile(join(from, DATA_MAP_NAME), join(to, DATA_MAP_NAME))
      result = 'published'
    }
    for (const name of DATA_NAMES) names.delete(name)
  }
  for (const name of names) {
    if (await placeNewFile(join(from, name), join(to, name))) result = 'published'
  }
  await rm(from, { recursive: true, force: true })
  return result
}

const DATA_NAMES = [DATA_NAME, DIGESTS_NAME, DATA_MAP_NAME]

/** Tells whether data is better than what is there: none, none that can be used, or sparse where it is whole. */
async function isReplaceable(from: string, to: string): Promise<boolean> {
  const there = await readMap(to)
  if (there === undefined) return true
  const ours = await readMap(from)
  return ours !== undefined && isWholeMap(ours) && !isWholeMap(there)
}

async function readMap(directory: string): Promise<PieceMap | undefined> {
  const path = join(directory, DATA_MAP_NAME)
  try {
    const bytes = await readSealedFile(path)
    return bytes === undefined ? undefined : decodeMap(bytes, path)
  } catch (error) {
    if (isOcimountError(error, 'CACHE_CORRUPT')) return undefined
    throw error
  }
}
