// A tar archive as a set of files. Every file is a region of the archive; nothing is copied.

import type { ByteString } from '../byte-string.js'
import { byteStringOf, escapeName } from '../byte-string.js'
import type { FileRegion } from '../layer/layer-blob.js'
import { indexArchive, memberError } from './archive-index.js'
import type { ArchiveMember } from './archive-index.js'
import type { FileTree } from './file-tree.js'
import { MAX_LINKS } from './limits.js'
import type { LocalFile } from './local-file.js'

/** The members of an archive, looked up by name; links lead to members alone (checklist D-004…D-006, A-149). */
export class ArchiveTree implements FileTree {
  readonly path: string
  readonly isArchive = true
  readonly #file: LocalFile
  readonly #members: ReadonlyMap<ByteString, ArchiveMember>

  private constructor(
    path: string,
    file: LocalFile,
    members: ReadonlyMap<ByteString, ArchiveMember>,
  ) {
    this.path = path
    this.#file = file
    this.#members = members
  }

  /**
   * Indexes an archive and takes over the open file, also when it throws.
   *
   * @param path what messages call the archive
   * @throws OcimountError `TAR_CORRUPT`, `LIMIT_EXCEEDED`, `STORAGE_FAILED`
   */
  static async open(path: string, file: LocalFile, signal?: AbortSignal): Promise<ArchiveTree> {
    try {
      return new ArchiveTree(path, file, await indexArchive(file, signal))
    } catch (error) {
      file.close()
      throw error
    }
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface leaves room for waiting
  async find(name: string): Promise<FileRegion | undefined> {
    const member = this.#resolve(byteStringOf(name))
    if (member === undefined) return undefined
    const { path, identity } = this.#file
    return { path, offset: member.offset, length: member.size, identity }
  }

  async read(region: FileRegion): Promise<Buffer> {
    return this.#file.read(region.offset, region.length)
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the same
  async list(directory: string): Promise<readonly string[]> {
    const prefix = directory === '' ? '' : `${directory}/`
    const names = new Set<string>()
    for (const [path, { type }] of this.#members) {
      if (!path.startsWith(prefix)) continue
      const name = path.slice(prefix.length)
      const slash = name.indexOf('/')
      if (slash !== -1) names.add(name.slice(0, slash + 1))
      else names.add(type === 'directory' ? `${name}/` : name)
    }
    return [...names].sort()
  }

  close(): void {
    this.#file.close()
  }

  /** Walks the parts of a name, replacing every link by its target, until a file is left. */
  #resolve(wanted: ByteString): ArchiveMember | undefined {
    let rest = wanted.split('/')
    let walked: string[] = []
    let links = 0
    while (rest.length > 0) {
      const part = rest[0] ?? ''
      rest = rest.slice(1)
      if (part === '' || part === '.') continue
      if (part === '..') {
        if (walked.length === 0) throw this.#error(wanted, 'it leads out of the archive')
        walked = walked.slice(0, -1)
        continue
      }
      const name = [...walked, part].join('/') as ByteString
      const member = this.#members.get(name)
      if (member?.type !== 'symlink' && member?.type !== 'hardlink') {
        walked = [...walked, part]
        continue
      }
      if (member.isAmbiguous) throw this.#ambiguous(name)
      if (++links > MAX_LINKS) throw this.#error(wanted, 'its links lead in circles')
      if (member.target.startsWith('/')) {
        throw this.#error(
          wanted,
          `it is a link to ${escapeName(member.target)} outside the archive`,
        )
      }
      // A symbolic link is relative to its own directory, a hard link names a member.
      if (member.type === 'hardlink') walked = []
      rest = [...member.target.split('/'), ...rest]
    }
    const name = walked.join('/') as ByteString
    const member = this.#members.get(name)
    if (member === undefined) {
      if (links > 0)
        throw this.#error(wanted, `it is a link to ${escapeName(name)}, which is missing`)
      return undefined
    }
    if (member.isAmbiguous) throw this.#ambiguous(name)
    if (member.type !== 'file') throw this.#error(wanted, `it is not a file but a ${member.type}`)
    if (member.isSparse) {
      const why = 'it is stored as a sparse file; pack the archive again without --sparse'
      throw memberError(this.path, wanted, why, 'IMAGE_UNSUPPORTED')
    }
    return member
  }

  #ambiguous(name: ByteString): Error {
    return this.#error(name, 'the archive holds more than one file of this name')
  }

  #error(name: ByteString, why: string): Error {
    return memberError(this.path, name, why)
  }
}
