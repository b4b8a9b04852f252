// From an eStargz or zstd:chunked table of contents to a toc and a table of chunks. Such a table has no tar offsets, so the device is
// made up (lazy-layout.ts). A table is authentic and may be hostile all the same.

import { PIECE_SIZE } from '../cache/piece-map.js'
import { MAX_UNCOMPRESSED } from '../compression/decompress.js'
import { OcimountError } from '../errors.js'
import { FieldReader } from '../image/field-reader.js'
import { parseJson, type JsonValue } from '../image/json.js'
import { TarBudget } from '../tar/budget.js'
import type { DataSegment, TarEntry } from '../tar/entry.js'
import { chunkAt, chunkCount, isAffordable, MAX_CHUNK, type ChunkTable } from './chunk-table.js'
import { ChunkTableBuilder } from './chunk-table-builder.js'
import { NO_NAME, readLazyEntry, toTarEntry, unusable, type LazyEntry } from './lazy-entries.js'
import {
  ALIGNMENT,
  LANDMARK,
  LARGE,
  MAX_CHUNKS,
  type LazyBlob,
  type UnlistedFile,
} from './lazy-layout.js'
import { readListedTable, type ListedTable } from './listed-table.js'
import { TocBuilder } from './toc-builder.js'
import type { Toc } from './toc.js'

/** Most bytes of JSON that are read (checklist F-021). */
export const MAX_TOC_JSON = 150 * 1024 * 1024
const LIMITS = { maxSize: MAX_TOC_JSON }
const WHAT = 'table of contents'
const TOP_LEVEL = ['version', 'entries']

export interface LazyContents {
  readonly toc: Toc
  readonly chunks: ChunkTable
}

/**
 * Reads a table of contents that has the right digest, and whose bytes stay as they are.
 *
 * @throws OcimountError `LAYER_CORRUPT`, `LIMIT_EXCEEDED` or `IMAGE_INVALID` saying what about it cannot be used
 */
export async function readLazyToc(
  json: Buffer,
  blob: LazyBlob,
  unlisted?: UnlistedFile,
): Promise<LazyContents> {
  const isShort = json.length <= MAX_TOC_JSON
  const listed = isShort ? await readListedTable(json, blob, unlisted) : undefined
  if (listed !== undefined) return takeListed(listed, blob, unlisted)
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

function takeListed(
  { rest, deviceSize, records, takeEntries }: ListedTable,
  blob: LazyBlob,
  unlisted: UnlistedFile | undefined,
): LazyContents {
  const entries = new EntryCollector()
  const firstEnd = takeEntries(
    (entry) => {
      entries.add(entry)
    },
    () => {
      checkDocument(parseJson(rest, `${WHAT} without its entries`, LIMITS))
    },
  )
  if (unlisted !== undefined) {
    entries.addUnlisted(unlisted, chunkAt({ records }, chunkCount({ records }) - 1).deviceOffset)
  }
  const toc = entries.finish(deviceSize)
  return { toc, chunks: { ...chunksOf(blob), deviceSize, firstEnd, records } }
}

function chunksOf(blob: LazyBlob): Pick<ChunkTable, 'compression' | 'blobDigest' | 'blobSize'> {
  return { compression: blob.compression, blobDigest: blob.digest, blobSize: blob.size }
}

/** Entries on their way into a toc, within the limits of an archive. */
class EntryCollector {
  readonly #toc = new TocBuilder()
  readonly #budget = new TarBudget({})

  add(entry: TarEntry): void {
    this.#budget.spendEntry(entry)
    this.#toc.onEntry(entry)
  }

  addUnlisted({ entry }: UnlistedFile, dataOffset: number): void {
    this.add({ ...UNLISTED, ...entry, headerOffset: dataOffset, dataOffset })
  }

  finish(deviceSize: number): Toc {
    return this.#toc.finish(deviceSize)
  }
}

/** As all writers write it, so that it is what it is in the archive. */
const UNLISTED = {
  type: 'file',
  ...{ mode: 0, uid: 0, gid: 0, devMajor: 0, devMinor: 0, linkTarget: NO_NAME },
  ...{ mtime: { seconds: 0, nanoseconds: 0 }, xattrs: undefined, sparse: undefined },
} as const

/** A regular file whose chunks are still coming. */
interface OpenFile {
  readonly entry: LazyEntry
  readonly dataOffset: number
  readonly segments: { -readonly [Key in keyof DataSegment]: DataSegment[Key] }[]
  covered: number
}

class LazyTocBuilder {
  readonly #blob: LazyBlob
  readonly #entries = new EntryCollector()
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
    const { compression, size, contentEnd } = this.#blob
    const records = this.#chunks.finish(compression, unlisted === undefined ? contentEnd : size)
    const chunks = { ...chunksOf(this.#blob), deviceSize, firstEnd: this.#firstEnd, records }
    if (!isAffordable(chunks)) throw unusable('', 'a part of the layer takes too much to be read')
    return { toc: this.#entries.finish(deviceSize), chunks }
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
    const last = file.segments.at(-1)
    // Nothing else is between two chunks of a file.
    if (last !== undefined && last.fileOffset + last.length === fileOffset) last.length += length
    else file.segments.push({ fileOffset, deviceOffset: this.#cursor, length })
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
    this.#entries.add(toTarEntry(entry, dataOffset, sparse))
  }

  #addUnlisted(file: UnlistedFile): void {
    const { entry, compressedOffset, innerOffset, sha256 } = file
    if (innerOffset + entry.size > MAX_CHUNK) throw tooLong(entry.path)
    this.#align()
    const deviceOffset = this.#cursor
    this.#chunks.add({ deviceOffset, compressedOffset, length: entry.size, innerOffset, sha256 })
    this.#move(entry.size)
    this.#entries.addUnlisted(file, deviceOffset)
  }

  #align(alignment = ALIGNMENT): void {
    this.#move((alignment - (this.#cursor % alignment)) % alignment)
  }

  #move(length: number): void {
    this.#cursor += length
    if (this.#cursor > MAX_UNCOMPRESSED) throw tooMany(`${MAX_UNCOMPRESSED} bytes of files`)
  }
}

function alignmentOf({ size }: LazyEntry): number {
  return size >= LARGE ? PIECE_SIZE : ALIGNMENT
}

function tooLong(name: string): OcimountError {
  return unusable(name, `a chunk takes more than ${MAX_CHUNK} bytes to be read`)
}

function tooMany(what: string): OcimountError {
  return new OcimountError('LIMIT_EXCEEDED', `Cannot use the table: it has more than ${what}`)
}
