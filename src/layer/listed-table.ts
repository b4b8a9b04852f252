// A table of contents that the addon has read and laid out (native-bindings/src/lazy_table.h): one that is as every writer writes it, but
// for attributes of single entries, which are read as JSON here. It reads in a thread of its own, and makes no objects of chunks.
//
// The three tables of a Debian image in eStargz, 5.6 MB, took 0.14 to 0.18 s in place of 0.34 to 0.43, those of zstd:chunked, 8.2 MB, 0.19
// to 0.23 s in place of 0.32 to 0.41, where single entries were listed before and all else was made of objects: least and median of nine
// processes that had not read any before. 0.03 to 0.05 s of it are those of the other thread.

import { isUtf8 } from 'node:buffer'
import type { ByteString } from '../byte-string.js'
import { PIECE_SIZE } from '../cache/piece-map.js'
import { MAX_UNCOMPRESSED } from '../compression/decompress.js'
import { parseJson } from '../image/json.js'
import { loadNative, type LazyTable } from '../native.js'
import type { DataSegment, TarEntry, Timestamp } from '../tar/entry.js'
import { DEFAULT_MAX_ENTRIES } from '../tar/limits.js'
import { CHUNK_COST, MAX_CHUNK, MAX_CHUNK_STORED, MAX_PIECE_COST } from './chunk-table.js'
import {
  LISTED_TYPES,
  NO_NAME,
  PERMISSIONS,
  readLazyEntry,
  toTarEntry,
  type LazyEntry,
} from './lazy-entries.js'
import {
  ALIGNMENT,
  LANDMARK,
  LARGE,
  MAX_CHUNKS,
  type LazyBlob,
  type UnlistedFile,
} from './lazy-layout.js'

/** A table that is laid out; its entries are still to be taken. */
export interface ListedTable extends Pick<LazyTable, 'deviceSize' | 'records'> {
  /** The document without its entries. */
  readonly rest: Buffer
  /**
   * Calls `deliver` for each entry in order, `checkRest` when all were read, and gives where the files end that are to be fetched first.
   *
   * @throws OcimountError as parseJson() and readLazyEntry(), and what these throw
   */
  readonly takeEntries: (deliver: (entry: TarEntry) => void, checkRest: () => void) => number
}

/** Reads a table; undefined where the addon is missing or leaves it to others, who then find out what is wrong with it. */
export async function readListedTable(
  json: Buffer,
  { compression, size, contentEnd }: LazyBlob,
  unlisted: UnlistedFile | undefined,
): Promise<ListedTable | undefined> {
  const native = loadNative()
  // What is not UTF-8 is no table, whatever else is wrong with it.
  if (native === undefined || !isUtf8(json)) return undefined
  const table = await native.readLazyTable({
    ...{ json, layout: LAYOUT, endsEarly: compression === 'gzip', blobSize: size, contentEnd },
    unlisted: unlisted && { ...unlisted, size: unlisted.entry.size },
  })
  if (table === undefined) return undefined
  const { arrayAt, arrayEnd, deviceSize, records } = table
  return {
    ...{ deviceSize, records },
    rest: Buffer.concat([json.subarray(0, arrayAt), json.subarray(arrayEnd)]),
    takeEntries: (deliver, checkRest) => takeEntries({ table, json, deliver, checkRest }),
  }
}

/** What the addon is told of how files are laid out. */
export const LAYOUT = {
  ...{ alignment: ALIGNMENT, large: LARGE, pieceSize: PIECE_SIZE },
  ...{ maxDevice: MAX_UNCOMPRESSED, maxEntries: DEFAULT_MAX_ENTRIES, maxChunks: MAX_CHUNKS },
  ...{ maxChunk: MAX_CHUNK, maxChunkStored: MAX_CHUNK_STORED },
  ...{ maxPieceCost: MAX_PIECE_COST, chunkCost: CHUNK_COST },
}

function takeEntries({
  table,
  json,
  deliver,
  checkRest,
}: {
  readonly table: LazyTable
  readonly json: Buffer
  readonly deliver: (entry: TarEntry) => void
  readonly checkRest: () => void
}): number {
  const numbers = doublesOf(table.numbers)
  const segments = doublesOf(table.segments)
  const names = table.names.toString('latin1')
  let [at, nameAt, segmentAt, firstEnd] = [0, 0, 0, 0]
  const number = (place: number): number => small(numbers[at + place] ?? 0)
  const takeText = (place: number): ByteString => {
    const begin = nameAt
    nameAt += number(place)
    return names.slice(begin, nameAt) as ByteString
  }
  // Whole directories are of one second.
  let last: Timestamp = { seconds: 0, nanoseconds: 0 }
  const takeTime = (seconds: number, nanoseconds: number): Timestamp => {
    const isLast = seconds === last.seconds && nanoseconds === last.nanoseconds
    last = isLast ? last : { seconds, nanoseconds }
    return last
  }
  const takeSegments = (): DataSegment[] | undefined => {
    const begin = segmentAt
    const count = number(AT.segments) - 1
    segmentAt += 3 * Math.max(0, count)
    return count < 0 ? undefined : segmentsOf(segments.subarray(begin, segmentAt))
  }
  // Who reads the document itself has a file when its last chunk is there, and something else or the end of the document behind that.
  let file: TarEntry | undefined
  for (; at < numbers.length; at += ENTRY_NUMBERS) {
    const isLeft = number(AT.textLength) > 0
    const left = isLeft ? readText(json, number(AT.textAt), number(AT.textLength)) : undefined
    const type = LISTED_TYPES[number(AT.type)]
    // A chunk has no more to say.
    if (type === undefined) continue
    if (file !== undefined) deliver(file)
    const dataOffset = number(AT.dataOffset)
    const path = takeText(AT.nameLength)
    const target = takeText(AT.linkLength)
    const sparse = takeSegments()
    const isDevice = type === 'char' || type === 'block'
    const entry =
      left === undefined
        ? {
            path,
            type,
            mode: number(AT.mode) & PERMISSIONS,
            uid: number(AT.uid),
            gid: number(AT.gid),
            mtime: takeTime(number(AT.seconds), number(AT.nanoseconds)),
            size: type === 'file' ? number(AT.size) : 0,
            headerOffset: dataOffset,
            dataOffset,
            linkTarget: type === 'symlink' || type === 'hardlink' ? target : NO_NAME,
            devMajor: isDevice ? number(AT.devMajor) : 0,
            devMinor: isDevice ? number(AT.devMinor) : 0,
            xattrs: undefined,
            sparse,
          }
        : toTarEntry(left, dataOffset, sparse)
    file = entry.size > 0 ? entry : undefined
    if (file === undefined) deliver(entry)
    else if (entry.path === LANDMARK) firstEnd = dataOffset
  }
  checkRest()
  if (file !== undefined) deliver(file)
  return firstEnd
}

/** Gives the same number, as an integer of the engine's where it is one: an object would else be kept for each field of each entry. */
function small(number: number): number {
  const integer = number | 0
  return integer === number ? integer : number
}

function readText(json: Buffer, at: number, length: number): LazyEntry {
  const what = `the entry at byte ${at} of the table of contents`
  const limits = { maxSize: length, outerDepth: OUTER_DEPTH }
  return readLazyEntry(parseJson(json.subarray(at, at + length), what, limits))
}

function segmentsOf(numbers: Float64Array): DataSegment[] {
  const segments: DataSegment[] = []
  for (let at = 0; at < numbers.length; at += 3) {
    const [fileOffset = 0, deviceOffset = 0, length = 0] = numbers.subarray(at, at + 3)
    segments.push({ fileOffset, deviceOffset, length })
  }
  return segments
}

/** A copy: the bytes may lie anywhere in what Node.js has many in. */
function doublesOf({ buffer, byteOffset, length }: Buffer): Float64Array {
  return new Float64Array(buffer.slice(byteOffset, byteOffset + length))
}

/** The document and the array of entries. */
const OUTER_DEPTH = 2

const ENTRY_NUMBERS = 15
/** Where they are among those of an entry. */
const AT = {
  type: 0,
  textAt: 1,
  textLength: 2,
  size: 3,
  mode: 4,
  uid: 5,
  gid: 6,
  seconds: 7,
  nanoseconds: 8,
  devMajor: 9,
  devMinor: 10,
  dataOffset: 11,
  nameLength: 12,
  linkLength: 13,
  segments: 14,
} as const
