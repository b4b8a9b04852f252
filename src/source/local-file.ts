// Regular files of the host, opened so that nothing else can be opened by mistake: no FIFO that blocks,
// no device that reacts to being opened, no file that changed between two looks at it.

import { constants } from 'node:fs'
import { lstat, open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { escapeText } from '../byte-string.js'
import { fileIdentity, isSameIdentity } from '../cache/file-identity.js'
import type { FileIdentity } from '../cache/file-identity.js'
import { OcimountError, messageOf, systemErrorCode } from '../errors.js'

/** An open regular file and what it was when it was opened. */
export class LocalFile {
  /** As given; absolute where another process is to open the file again. */
  readonly path: string
  readonly identity: FileIdentity
  readonly #handle: FileHandle

  /** Takes over the handle. */
  constructor(path: string, handle: FileHandle, identity: FileIdentity) {
    this.path = path
    this.identity = identity
    this.#handle = handle
  }

  /** Size when the file was opened. */
  get size(): number {
    return this.identity.size
  }

  /**
   * Opens a regular file for reading. The last component must not be a symbolic link.
   *
   * @throws OcimountError `FILE_NOT_FOUND` when it is absent or may not be read, `IMAGE_INVALID` when it is
   *   no regular file, `STORAGE_FAILED`
   */
  static async open(path: string): Promise<LocalFile> {
    let handle: FileHandle | undefined
    try {
      refuseSpecial(path, await lstat(path))
      handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
      const stats = await handle.stat({ bigint: true })
      refuseSpecial(path, stats)
      return new LocalFile(path, handle, fileIdentity(stats))
    } catch (error) {
      await handle?.close()
      throw fileError(path, error)
    }
  }

  /**
   * Reads `length` bytes, or what there is up to the end that the file had when it was opened.
   *
   * @throws OcimountError `SOURCE_CHANGED` when the file ends earlier than it did, `STORAGE_FAILED`
   */
  async read(offset: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(length, this.size - offset)))
    let filled = 0
    try {
      while (filled < buffer.length) {
        const rest = buffer.length - filled
        const { bytesRead } = await this.#handle.read(buffer, filled, rest, offset + filled)
        if (bytesRead === 0) throw this.#changed()
        filled += bytesRead
      }
    } catch (error) {
      throw fileError(this.path, error)
    }
    return buffer
  }

  /**
   * Makes sure that the file still is what it was when it was opened.
   *
   * @throws OcimountError `SOURCE_CHANGED`
   */
  async refuseChange(): Promise<void> {
    const now = fileIdentity(await this.#handle.stat({ bigint: true }))
    if (!isSameIdentity(now, this.identity)) throw this.#changed()
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }

  #changed(): OcimountError {
    const message = `Cannot read ${escapeText(this.path)}: it changed while it was being read`
    return new OcimountError('SOURCE_CHANGED', message)
  }
}

interface FileKind {
  isFile(): boolean
  isDirectory(): boolean
  isSymbolicLink(): boolean
  isFIFO(): boolean
  isSocket(): boolean
}

/** @throws OcimountError `IMAGE_INVALID` for anything but a regular file and, where asked for, a directory */
export function refuseSpecial(
  path: string,
  stats: FileKind,
  { isDirectoryFine = false }: { isDirectoryFine?: boolean } = {},
): void {
  if (stats.isFile() || (isDirectoryFine && stats.isDirectory())) return
  let kind = 'a device'
  if (stats.isDirectory()) kind = 'a directory'
  else if (stats.isSymbolicLink()) kind = 'a symbolic link'
  else if (stats.isFIFO()) kind = 'a pipe; give an archive on standard input as -'
  else if (stats.isSocket()) kind = 'a socket'
  throw new OcimountError(
    'IMAGE_INVALID',
    `Cannot read ${escapeText(path)}: it is not a regular file but ${kind}`,
  )
}

/** Turns a failed call on a file into the error that a person understands; passes our own through. */
export function fileError(path: string, error: unknown): OcimountError {
  if (error instanceof OcimountError) return error
  const why = REASONS.get(systemErrorCode(error) ?? '')
  const code = why === undefined ? 'STORAGE_FAILED' : 'FILE_NOT_FOUND'
  const message = `Cannot read ${escapeText(path)}: ${why ?? messageOf(error)}`
  return new OcimountError(code, message, { cause: error })
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'there is no such file or directory'],
  ['ENOTDIR', 'a part of the path is not a directory'],
  ['ENAMETOOLONG', 'the name is too long'],
  ['ELOOP', 'there are too many symbolic links'],
  ['EACCES', 'permission denied'],
  ['EPERM', 'permission denied'],
])
