// What a mount answers, without anything of FUSE: paths and inodes in, bytes, attributes or an errno out.
//
// An answer that a program may well get (no such file) is a negative errno, as the kernel writes it: exceptions
// are slow and misses are frequent. What must not happen (a damaged image, an unreadable layer) is an
// exception; the caller turns it into an errno and reports it.

import { constants as fsConstants } from 'node:fs'
import { constants as osConstants } from 'node:os'
import { textOf, type ByteString } from '../byte-string.js'
import type { ErofsDirent, ErofsImage, ErofsInode } from '../erofs/reader.js'
import { splitXattrName } from '../erofs/xattr-name.js'
import type { LayerDevice } from '../layer/device.js'
import { readContent } from '../rootfs/read-content.js'
import { DirectoryCache } from './directory-cache.js'
import { checkTarget, type MountTarget } from './driver.js'

const { EACCES, EINVAL, EIO, EISDIR, ENAMETOOLONG, ENODATA, ENOENT, ENOTDIR, EOPNOTSUPP, EROFS } =
  osConstants.errno
const { O_RDWR, O_TRUNC, O_WRONLY, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, W_OK, X_OK } = fsConstants

/** What every mutating call answers. */
export const READ_ONLY = -EROFS

const MAX_NAME_BYTES = 255
/** Directories whose path is remembered; an image of a million files has some ten thousand. */
const CACHED_DIRECTORIES = 32_768
const STATFS_BLOCK_SIZE = 4096

/** What statvfs(3) tells; nothing is ever free. */
export interface FilesystemStats {
  readonly blockSize: number
  /** In units of `blockSize`. */
  readonly blocks: number
  readonly files: number
  readonly maxNameBytes: number
}

/** The read-only filesystem that an image and its devices make. */
export class RootfsOperations {
  readonly #image: ErofsImage
  readonly #devices: readonly LayerDevice[]
  readonly #directories = new DirectoryCache(CACHED_DIRECTORIES)
  readonly #listsTrusted: boolean

  /**
   * `listsTrusted` is false in a user namespace, where nobody can read attributes of `trusted.*` and an overlay fails to copy
   * a file up that lists one.
   *
   * @throws OcimountError `INTERNAL` when the devices are not those of the image.
   */
  constructor(target: MountTarget, { listsTrusted = true } = {}) {
    checkTarget(target)
    this.#image = target.image
    this.#devices = target.devices
    this.#listsTrusted = listsTrusted
  }

  /**
   * Gives the nid of an absolute path without `.`, `..` or doubled slashes, as the kernel passes it; symbolic links
   * are the kernel's business. Errors: -ENOENT, -ENOTDIR, -ENAMETOOLONG.
   */
  resolve(path: ByteString): number {
    if (path === '/') return this.#image.rootNid
    const slash = path.lastIndexOf('/')
    const directory = slash <= 0 ? this.#image.rootNid : this.#resolveDirectory(path, slash)
    if (directory < 0) return directory
    return this.#find(directory, path.slice(slash + 1) as ByteString)
  }

  /** Gives what stat(2) tells. */
  attributes(nid: number): ErofsInode {
    return this.#image.inode(nid)
  }

  /** Checks access(2): everything may be read, nothing written. Errors: -EROFS, -EACCES. */
  access(nid: number, wanted: number): number {
    if ((wanted & W_OK) !== 0) return -EROFS
    if ((wanted & X_OK) === 0) return 0
    const { mode } = this.#image.inode(nid)
    return (mode & S_IFMT) === S_IFREG && (mode & 0o111) === 0 ? -EACCES : 0
  }

  /** Checks open(2). Errors: -EROFS, -EISDIR, -EINVAL for what is not a file. */
  open(nid: number, flags: number): number {
    if ((flags & (O_WRONLY | O_RDWR | O_TRUNC)) !== 0) return -EROFS
    const kind = this.#image.inode(nid).mode & S_IFMT
    if (kind === S_IFREG) return 0
    return kind === S_IFDIR ? -EISDIR : -EINVAL
  }

  /**
   * Fills `target` with the bytes of a regular file from `fileOffset` on and gives how many there are: fewer only at
   * the end of the file.
   *
   * When it settles nothing writes to `target` any more, also after a failure: the memory belongs to libfuse.
   *
   * @throws OcimountError what {@link LayerDevice.read} throws, `CACHE_CORRUPT`
   */
  async read(nid: number, target: Buffer, fileOffset: number): Promise<number> {
    return readContent({ image: this.#image, devices: this.#devices }, { nid, target, fileOffset })
  }

  /** Gives the entries of a directory, `.` and `..` among them, or -ENOTDIR. */
  readdir(nid: number): Iterable<ErofsDirent> | number {
    if (!this.#isKind(nid, S_IFDIR)) return -ENOTDIR
    return this.#image.readdir(nid)
  }

  /** Gives the target of a symbolic link. Errors: -EINVAL, -EIO where it is not UTF-8. */
  readlink(nid: number): string | number {
    if (!this.#isKind(nid, S_IFLNK)) return -EINVAL
    return textOf(this.#image.readlink(nid)) ?? -EIO
  }

  /** Gives the value of an extended attribute, a view of the image. Errors: -ENODATA; -EOPNOTSUPP, -EINVAL for no name of EROFS. */
  getxattr(nid: number, name: ByteString): Buffer | number {
    if (/^(user|trusted|security)\.$/.test(name)) return -EINVAL
    if (splitXattrName(name) === undefined) return -EOPNOTSUPP
    return this.#image.getxattr(nid, name) ?? -ENODATA
  }

  /** Gives the names of the extended attributes, each closed by a NUL, as listxattr(2) wants them. */
  listxattr(nid: number): Buffer {
    const names = this.#image
      .listxattr(nid)
      .filter((name) => textOf(name) !== undefined)
      .filter((name) => this.#listsTrusted || !name.startsWith('trusted.'))
    return Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1')
  }

  /** Gives the sizes of the whole: metadata and all layers, whether or not a file uses their bytes. */
  statfs(): FilesystemStats {
    const bytes = this.#devices.reduce((sum, { size }) => sum + size, this.#image.size)
    return {
      blockSize: STATFS_BLOCK_SIZE,
      blocks: Math.ceil(bytes / STATFS_BLOCK_SIZE),
      files: this.#image.inodeCount,
      maxNameBytes: MAX_NAME_BYTES,
    }
  }

  /** Walks from the deepest directory that is known; `end` is where the path of the wanted one stops. */
  #resolveDirectory(path: ByteString, end: number): number {
    const wanted = path.slice(0, end) as ByteString
    const known = this.#directories.get(wanted)
    if (known !== undefined) return known
    let nid = this.#image.rootNid
    let start = 1
    for (let slash = end; slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
      const above = this.#directories.get(path.slice(0, slash) as ByteString)
      if (above === undefined) continue
      nid = above
      start = slash + 1
      break
    }
    while (start < end) {
      const slash = path.indexOf('/', start)
      nid = this.#find(nid, path.slice(start, slash) as ByteString)
      if (nid < 0) return nid
      if (!this.#isKind(nid, S_IFDIR)) return -ENOTDIR
      this.#directories.set(path.slice(0, slash) as ByteString, nid)
      start = slash + 1
    }
    return nid
  }

  /** The directory is known to be one. */
  #find(directory: number, name: ByteString): number {
    if (name.length > MAX_NAME_BYTES) return -ENAMETOOLONG
    return this.#image.lookup(directory, name) ?? -ENOENT
  }

  #isKind(nid: number, kind: number): boolean {
    return (this.#image.inode(nid).mode & S_IFMT) === kind
  }
}
