// Tar entries to toc entries: paths cleaned, whiteouts told apart, what cannot be in a tree set aside and noted.

import type { ByteString } from '../byte-string.js'
import { isOcimountError, OcimountError } from '../errors.js'
import type { TarEntry, TarNote } from '../tar/entry.js'
import { cleanPath, shownPath } from './clean-path.js'
import type { Toc, TocEntry, TocEntryType, TocNote } from './toc.js'
import { AUFS_LINKS, AUFS_PREFIX, OPAQUE_NAME, parseWhiteout, WHITEOUT_PREFIX } from './whiteout.js'

/** Notes kept of one layer; the rest is counted. A hostile layer can have one per 512 bytes. */
export const MAX_NOTES = 10_000

/** Longest target of a symlink, in bytes: PATH_MAX of Linux without the final NUL. */
export const MAX_SYMLINK = 4095

/**
 * Collects the entries of one layer in the tar's order; its two methods are the handlers of a TarParser.
 *
 * Besides the layer's own files the toc keeps the entries below `.wh..wh.plnk/`, with that very path: the bodies that hard
 * links of layers written by aufs refer to (checklist B-086). They are to be linked to and never to be shown. All else
 * that aufs left in the root is noted and left out, and so is whatever lies in a directory with a whiteout's name (B-084).
 */
export class TocBuilder {
  readonly #entries: TocEntry[] = []
  readonly #notes: TocNote[] = []
  #omittedNotes = 0

  /**
   * Takes the next entry.
   *
   * @throws OcimountError `LAYER_CORRUPT` for a path with `..` or a whiteout of nothing, `LIMIT_EXCEEDED` for a
   *   name or target that Linux could not hold; the message names the entry and its place
   */
  onEntry(entry: TarEntry): void {
    try {
      this.#add(entry, cleanPath(entry.path))
    } catch (error) {
      if (!isOcimountError(error)) throw error
      throw new OcimountError(
        error.code,
        `Cannot read tar entry "${shownPath(entry.path)}" at device offset ${entry.headerOffset}: ${error.message}`,
        { cause: error, details: { deviceOffset: entry.headerOffset } },
      )
    }
  }

  /** Takes a note of the tar reader. */
  onNote({ kind, path, detail }: TarNote): void {
    this.#note({ kind, path, detail })
  }

  /** Gives the toc of a layer of that many uncompressed bytes; the builder is of no further use. */
  finish(deviceSize: number): Toc {
    if (this.#omittedNotes > 0) {
      const detail = `${this.#omittedNotes} more notes`
      this.#notes.push({ kind: 'omitted', path: '' as ByteString, detail })
    }
    return { entries: this.#entries, notes: this.#notes, deviceSize }
  }

  #add(entry: TarEntry, path: ByteString): void {
    // The only test that most entries need: without the prefix there is no whiteout in any part of the path.
    if (!path.includes(WHITEOUT_PREFIX)) {
      this.#keep(entry, path)
      return
    }
    const slash = path.lastIndexOf('/')
    const directory = (slash < 0 ? '' : path.slice(0, slash)) as ByteString
    const first = path.split('/', 1)[0] ?? ''
    if (first.startsWith(AUFS_PREFIX) && first !== OPAQUE_NAME) {
      this.#addAufs(entry, path, directory)
    } else if (directory.split('/').some((part) => part.startsWith(WHITEOUT_PREFIX))) {
      this.#note({
        kind: 'whiteout-directory',
        path,
        detail: 'its directory has the name of a whiteout',
      })
    } else {
      const whiteout = parseWhiteout(path.slice(slash + 1) as ByteString)
      if (whiteout === undefined) this.#keep(entry, path)
      else if (whiteout.kind === 'opaque') this.#keepMarker(entry, 'opaque', directory)
      else this.#keepMarker(entry, 'whiteout', join(directory, whiteout.name))
    }
  }

  #addAufs(entry: TarEntry, path: ByteString, directory: ByteString): void {
    if (directory === AUFS_LINKS && (entry.type === 'file' || entry.type === 'hardlink')) {
      this.#keep(entry, path)
    } else {
      this.#note({ kind: 'aufs-metadata', path, detail: 'left out' })
    }
  }

  #keep(entry: TarEntry, path: ByteString): void {
    const target = cleanTarget(entry)
    const isAsGiven = path === entry.path && target === entry.linkTarget
    this.#entries.push(isAsGiven ? entry : tocEntry(entry, entry.type, path, target))
  }

  /** Whatever a whiteout carries besides its name is of no meaning. */
  #keepMarker(entry: TarEntry, type: 'whiteout' | 'opaque', path: ByteString): void {
    const bare = {
      ...entry,
      size: 0,
      devMajor: 0,
      devMinor: 0,
      xattrs: undefined,
      sparse: undefined,
    }
    this.#entries.push(tocEntry(bare, type, path, '' as ByteString))
  }

  #note(note: TocNote): void {
    if (this.#notes.length < MAX_NOTES) this.#notes.push(note)
    else this.#omittedNotes++
  }
}

function join(directory: ByteString, name: ByteString): ByteString {
  return directory === '' ? name : (`${directory}/${name}` as ByteString)
}

function cleanTarget({ type, linkTarget }: TarEntry): ByteString {
  if (type === 'hardlink') return cleanPath(linkTarget)
  if (type !== 'symlink') return '' as ByteString
  if (linkTarget.length > MAX_SYMLINK) {
    throw new OcimountError(
      'LIMIT_EXCEEDED',
      `Cannot use symlink target "${shownPath(linkTarget)}": it is longer than ${MAX_SYMLINK} bytes`,
    )
  }
  return linkTarget
}

// One literal, so that all entries have the same shape; 300,000 of them are kept at once.
function tocEntry(
  entry: TarEntry,
  type: TocEntryType,
  path: ByteString,
  linkTarget: ByteString,
): TocEntry {
  return {
    path,
    type,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    mtime: entry.mtime,
    size: entry.size,
    headerOffset: entry.headerOffset,
    dataOffset: entry.dataOffset,
    linkTarget,
    devMajor: entry.devMajor,
    devMinor: entry.devMinor,
    xattrs: entry.xattrs,
    sparse: entry.sparse,
  }
}
