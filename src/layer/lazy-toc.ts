// From an eStargz or zstd:chunked table of contents to a toc and a table of chunks. Such a table has no tar offsets, so the device is
// made up: the files in order, each aligned to 512, holes of a file left out. A table is authentic and may be hostile all the same.
//
// A large file has its pieces for itself. eStargz has chunks of 4 MiB, of which the end of one and the beginning of another would
// otherwise have to be fetched for whatever lies beside the file. The pieces that `import numpy` of Debian reads take 26.7 MB of an
// eStargz blob in place of 36.8, and 24.6 in place of 26.4 of zstd:chunked; its chunks alone would be 16.1 and 9.7 MB.

import { PIECE_SIZE } from '../cache/piece-map.js'
import type { DecompressibleKind } from '../compression/detect.js'
import { OcimountError } from '../errors.js'
import type { Digest } from '../image/digest.js'
import { FieldReader } from '../image/field-reader.js'
import { parseJson, type JsonValue } from '../image/json.js'
import { MAX_UNCOMPRESSED } from '../compression/decompress.js'
import { TarBudget } from '../tar/budget.js'
import type { DataSegment, TarEntry, TarEntryType } from '../tar/entry.js'
import { isAffordable, MAX_CHUNK, type ChunkTable } from './chunk-table.js'
import { ChunkTableBuilder } from './chunk-table-builder.js'
import { readLazyEntry, unusable, type LazyEntry } from './lazy-entries.js'
import { readListedEntries } from './listed-entries.js'
import { TocBuilder } from './toc-builder.js'
import type { Toc } from './toc.js'

/**
 * The version of the way in which a device is made of a table, which is a part of the layer's id. To be raised with any change of
 * where bytes lie in the device.
 */
export const LAZY_LAYOUT = 2
/** Most bytes of JSON that are read (checklist F-021). */
export const MAX_TOC_JSON = 150 * 1024 * 1024
/** A record each, and a place in memory while the table is read. */
const MAX_CHUNKS = 4_000_000
const LIMITS = { maxSize: MAX_TOC_JSON }
const WHAT = 'table of contents'
const TOP_LEVEL = ['version', 'entries']
/** What EROFS wants content to begin at. */
const ALIGNMENT = 512
/** A file of so many bytes has its pieces for itself: half a piece, so that a layer of such files has a device of twice its size. */
const LARGE = PIECE_SIZE / 2

/** What is known of the blob besides its table of contents. */
export interface LazyBlob {
  readonly compression: DecompressibleKind
  readonly digest: Digest
  readonly size: number
  /** Content lies before this. */
  readonly contentEnd: number
}

export interface LazyContents {
  readonly toc: Toc
  readonly chunks: ChunkTable
}

/** A file of the layer that its table of contents does not list: that table itself. */
export interface UnlistedFile {
  readonly entry: Pick<TarEntry, 'path' | 'size'>
  readonly compressedOffset: number
  readonly innerOffset: number
  /** In hex digits. */
  readonly sha256: string
}

/**
 * Reads a table of contents that has the right digest.
 *
 * @throws OcimountError `LAYER_CORRUPT`, `LIMIT_EXCEEDED` or `IMAGE_INVALID` saying what about it cannot be used
 */
export function readLazyToc(json: Buffer, blob: LazyBlob, unlisted?: UnlistedFile): LazyContents {
  const listed = new LazyTocBuilder(blob)
  const list = (): Buffer | undefined =>
    readListedEntries(json, (entry) => {
      listed.take(entry)
    })
  const rest = json.length > MAX_TOC_JSON ? undefined : list()
  if (rest !== undefined) {
    checkDocument(parseJson(rest, `${WHAT} without its entries`, LIMITS))
    return listed.finish(unlisted)
  }
  // The other one may have taken entries.
  const builder = new LazyTocBuilder(blob)
  const take = (item: JsonValue): void => {
    builder.take(readLazyEntry(item))
  }
  checkDocument(parseJson(json, WHAT, LIMITS, { name: 'entries', take }))
  return builder.finish(unlisted)
}

/** Checks what is around the entries. */
function checkDocument(value: JsonValue): void {
  const document = new FieldReader(value, WHAT, TOP_LEVEL)
  if (document.get('version') !== 1) throw unusable('', 'the version of the table is not 1')
  // Go has null for none.
  if (document.has('entries')) document.array('entries')
}

/** A regular file whose chunks are still coming. */
interface OpenFile {
  readonly entry: LazyEntry
  readonly dataOffset: number
  readonly segments: DataSegment[]
  covered: number
}

class LazyTocBuilder {
  readonly #blob: LazyBlob
  readonly #toc = new TocBuilder()
  readonly #budget = new TarBudget({})
  readonly #chunks = new ChunkTableBuilder()
  #cursor = 0
  #firstEnd = 0
  #file: OpenFile | undefined

  constructor(blob: LazyBlob) {
    this.#blob = blob
  }

  take(entry: LazyEntry): void {
    if (entry.type === 'chunk') {
      if (this.#file?.entry.name !== entry.name) {
        throw unusable(entry.name, 'a chunk does not follow its file')
      }
      this.#addChunk(this.#file, entry)
      return
    }
    this.#closeFile()
    if (entry.type === 'reg' && entry.size > 0) this.#openFile(entry)
    else this.#add(entry, this.#cursor, undefined)
  }

  finish(unlisted: UnlistedFile | undefined): LazyContents {
    this.#closeFile()
    if (unlisted !== undefined) this.#addUnlisted(unlisted)
    this.#align()
    const deviceSize = this.#cursor
    const { compression, digest, size: blobSize, contentEnd } = this.#blob
    const records = this.#chunks.finish(compression, unlisted === undefined ? contentEnd : blobSize)
    const firstEnd = this.#firstEnd
    const chunks = { compression, blobDigest: digest, blobSize, deviceSize, firstEnd, records }
    if (!isAffordable(chunks)) throw unusable('', 'a part of the layer takes too much to be read')
    return { toc: this.#toc.finish(deviceSize), chunks }
  }

  #openFile(entry: LazyEntry): void {
    this.#align(alignmentOf(entry))
    if (entry.name === LANDMARK) this.#firstEnd = this.#cursor
    this.#file = { entry, dataOffset: this.#cursor, segments: [], covered: 0 }
    this.#addChunk(this.#file, entry)
  }

  #addChunk(file: OpenFile, part: LazyEntry): void {
    const { name, size, digest } = file.entry
    const rest = size - file.covered
    const length = part.chunkSize === 0 ? rest : part.chunkSize
    if (part.chunkOffset !== file.covered || length <= 0 || length > rest) {
      throw unusable(name, 'its chunks overlap, leave a gap or end behind it')
    }
    file.covered += length
    // Nothing is stored of a hole.
    if (part.chunkType === 'zeros') return
    if (part.chunkType !== '') throw unusable(name, 'it has a chunk of an unknown type')
    const sha256 = part.chunkDigest ?? (length === size ? digest : undefined)
    if (sha256 === undefined) throw unusable(name, 'it has a chunk without a digest')
    if (part.innerOffset + length > MAX_CHUNK) throw tooLong(name)
    if (part.offset >= this.#blob.contentEnd) throw unusable(name, 'it lies outside the blob')
    if (this.#chunks.count === MAX_CHUNKS) throw tooMany(`${MAX_CHUNKS} chunks`)
    this.#chunks.add({
      deviceOffset: this.#cursor,
      compressedOffset: part.offset,
      ...{ length, innerOffset: part.innerOffset, sha256 },
    })
    // Only where a file ends is it written, not where a chunk does.
    if (part.endOffset > part.offset) this.#chunks.mark(part.endOffset)
    const fileOffset = part.chunkOffset
    file.segments.push({ fileOffset, deviceOffset: this.#cursor, length })
    this.#move(length)
  }

  #closeFile(): void {
    const file = this.#file
    this.#file = undefined
    if (file === undefined) return
    const { entry, covered, dataOffset, segments } = file
    if (covered !== entry.size) throw unusable(entry.name, 'its chunks leave a gap')
    const stored = segments.reduce((sum, { length }) => sum + length, 0)
    this.#add(entry, dataOffset, stored === entry.size ? undefined : segments)
    this.#align(alignmentOf(entry))
  }

  #add(entry: LazyEntry, dataOffset: number, sparse: readonly DataSegment[] | undefined): void {
    const type = TYPES.get(entry.type)
    if (type === undefined) throw unusable(entry.name, 'it is of an unknown type')
    const isLink = type === 'symlink' || type === 'hardlink'
    const isDevice = type === 'char' || type === 'block'
    this.#deliver({
      path: entry.name,
      type,
      // Some writers have the type among the bits, as stat(2) does.
      mode: entry.mode & 0o7777,
      uid: entry.uid,
      gid: entry.gid,
      mtime: entry.modtime,
      size: type === 'file' ? entry.size : 0,
      headerOffset: dataOffset,
      dataOffset,
      linkTarget: isLink ? entry.linkName : NOTHING,
      devMajor: isDevice ? entry.devMajor : 0,
      devMinor: isDevice ? entry.devMinor : 0,
      xattrs: entry.xattrs,
      sparse,
    })
  }

  /** As all writers write it, so that it is what it is in the archive. */
  #addUnlisted({ entry, compressedOffset, innerOffset, sha256 }: UnlistedFile): void {
    if (innerOffset + entry.size > MAX_CHUNK) throw tooLong(entry.path)
    this.#align()
    const deviceOffset = this.#cursor
    this.#chunks.add({ deviceOffset, compressedOffset, length: entry.size, innerOffset, sha256 })
    this.#move(entry.size)
    this.#deliver({ ...UNLISTED, ...entry, headerOffset: deviceOffset, dataOffset: deviceOffset })
  }

  #deliver(entry: TarEntry): void {
    this.#budget.spendEntry(entry)
    this.#toc.onEntry(entry)
  }

  #align(alignment = ALIGNMENT): void {
    this.#move((alignment - (this.#cursor % alignment)) % alignment)
  }

  #move(length: number): void {
    this.#cursor += length
    if (this.#cursor > MAX_UNCOMPRESSED) throw tooMany(`${MAX_UNCOMPRESSED} bytes of files`)
  }
}

/** Where the files end that the maker of an eStargz layer saw being read first (checklist F-019). */
const LANDMARK = '.prefetch.landmark'
const NOTHING = '' as LazyEntry['name']
const UNLISTED = {
  type: 'file',
  ...{ mode: 0, uid: 0, gid: 0, devMajor: 0, devMinor: 0, linkTarget: NOTHING },
  ...{ mtime: { seconds: 0, nanoseconds: 0 }, xattrs: undefined, sparse: undefined },
} as const
const TYPES: ReadonlyMap<string, TarEntryType> = new Map([
  ['reg', 'file'],
  ['dir', 'directory'],
  ['symlink', 'symlink'],
  ['hardlink', 'hardlink'],
  ['char', 'char'],
  ['block', 'block'],
  ['fifo', 'fifo'],
])

function alignmentOf({ size }: LazyEntry): number {
  return size >= LARGE ? PIECE_SIZE : ALIGNMENT
}

function tooLong(name: string): OcimountError {
  return unusable(name, `a chunk takes more than ${MAX_CHUNK} bytes to be read`)
}

function tooMany(what: string): OcimountError {
  return new OcimountError('LIMIT_EXCEEDED', `Cannot use the table: it has more than ${what}`)
}
