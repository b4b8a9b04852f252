// Regular files of the host, opened so that nothing else can be opened by mistake: no FIFO that blocks,
// no device that reacts to being opened, no file that changed between two looks at it.

import { closeSync, constants, fstatSync, lstatSync, openSync, read, readSync } from 'node:fs'
import { promisify } from 'node:util'
import { escapeText } from '../byte-string.js'
import { fileIdentity, isSameIdentity } from '../cache/file-identity.js'
import type { FileIdentity } from '../cache/file-identity.js'
import { OcimountError, messageOf, systemErrorCode } from '../errors.js'

/**
 * An open regular file and what it was when it was opened.
 *
 * Calls that take some microseconds are made at once: a trip through the thread pool costs ten times that, and
 * opening an image makes a hundred of them.
 */
export class LocalFile {
  /** As given; absolute where another process is to open the file again. */
  readonly path: string
  readonly identity: FileIdentity
  #fd: number | undefined

  private constructor(path: string, fd: number, identity: FileIdentity) {
    this.path = path
    this.#fd = fd
    this.identity = identity
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
  static open(path: string): LocalFile {
    let fd: number | undefined
    try {
      // Looked at before it is opened: opening a device can have effects, a FIFO would wait for a writer.
      refuseSpecial(path, lstatSync(path))
      fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
      const stats = fstatSync(fd, { bigint: true })
      refuseSpecial(path, stats)
      return new LocalFile(path, fd, fileIdentity(stats))
    } catch (error) {
      if (fd !== undefined) closeSync(fd)
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
    try {
      for (let filled = 0; filled < buffer.length;) {
        const rest = buffer.length - filled
        const bytesRead =
          rest <= SHORT_READ
            ? readSync(this.#open(), buffer, filled, rest, offset + filled)
            : (await readAsync(this.#open(), buffer, filled, rest, offset + filled)).bytesRead
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
  refuseChange(): void {
    const now = fileIdentity(fstatSync(this.#open(), { bigint: true }))
    if (!isSameIdentity(now, this.identity)) throw this.#changed()
  }

  /** Closes the file; more than once does no harm. */
  close(): void {
    const fd = this.#fd
    this.#fd = undefined
    if (fd !== undefined) closeSync(fd)
  }

  #open(): number {
    if (this.#fd !== undefined) return this.#fd
    const message = `Cannot read ${escapeText(this.path)}: it was closed`
    throw new OcimountError('INTERNAL', message)
  }

  #changed(): OcimountError {
    const message = `Cannot read ${escapeText(this.path)}: it changed while it was being read`
    return new OcimountError('SOURCE_CHANGED', message)
  }
}

const readAsync = promisify(read)
/** What comes out of the page cache faster than another thread is woken up. */
const SHORT_READ = 64 * 1024

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
