// A directory of the host as a set of files, which may be somebody else's: nothing outside it is opened.

import { readdirSync, realpathSync } from 'node:fs'
import { join, sep } from 'node:path'
import { escapeText } from '../byte-string.js'
import { isSameIdentity } from '../cache/file-identity.js'
import { OcimountError, systemErrorCode } from '../errors.js'
import type { FileRegion } from '../layer/layer-blob.js'
import type { FileTree } from './file-tree.js'
import { LocalFile, fileError } from './local-file.js'

/** The files below a directory; symbolic links count as long as they stay below it (checklist A-150). */
export class DirectoryTree implements FileTree {
  readonly path: string
  readonly isArchive = false
  readonly #root: string

  private constructor(path: string, root: string) {
    this.path = path
    this.#root = root
  }

  /** @throws OcimountError `FILE_NOT_FOUND`, `STORAGE_FAILED` */
  static open(path: string): DirectoryTree {
    try {
      return new DirectoryTree(path, realpathSync.native(path))
    } catch (error) {
      throw fileError(path, error)
    }
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface leaves room for waiting
  async find(name: string): Promise<FileRegion | undefined> {
    const path = this.#locate(name)
    if (path === undefined) return undefined
    const file = LocalFile.open(path)
    try {
      return { path, offset: 0, length: file.size, identity: file.identity }
    } finally {
      file.close()
    }
  }

  async read(region: FileRegion): Promise<Buffer> {
    const file = LocalFile.open(region.path)
    try {
      if (!isSameIdentity(file.identity, region.identity)) {
        const message = `Cannot read ${escapeText(region.path)}: it was replaced meanwhile`
        throw new OcimountError('SOURCE_CHANGED', message)
      }
      return await file.read(region.offset, region.length)
    } finally {
      file.close()
    }
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the same
  async list(directory: string): Promise<readonly string[]> {
    const path = this.#locate(directory)
    if (path === undefined) return []
    try {
      const entries = readdirSync(path, { withFileTypes: true })
      return entries.map((entry) => entry.name + (entry.isDirectory() ? '/' : '')).sort()
    } catch (error) {
      if (systemErrorCode(error) === 'ENOTDIR') return []
      throw fileError(path, error)
    }
  }

  close(): void {
    // Files are open only while they are read.
  }

  /** Gives the true path of a name. */
  #locate(name: string): string | undefined {
    // No file has a name with a NUL, and no call takes one.
    if (name.includes('\0')) return undefined
    const given = join(this.#root, name)
    let path: string
    try {
      path = realpathSync.native(given)
    } catch (error) {
      const code = systemErrorCode(error)
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
      if (code === 'ELOOP') throw this.#error(name, 'its links lead in circles')
      throw fileError(given, error)
    }
    const inside = this.#root.endsWith(sep) ? this.#root : this.#root + sep
    if (path === this.#root || path.startsWith(inside)) return path
    throw this.#error(name, `it leads to ${escapeText(path)}, outside the image`)
  }

  #error(name: string, why: string): OcimountError {
    const message = `Cannot use ${escapeText(name)} in ${escapeText(this.path)}: ${why}`
    return new OcimountError('IMAGE_INVALID', message)
  }
}
