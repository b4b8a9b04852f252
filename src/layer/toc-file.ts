// Reads the file form of a toc (toc-format.ts). The bytes may be forged; see decodeToc for what holds all the same.

import { bytesOf, type ByteString } from '../byte-string.js'
import type { DataSegment, Timestamp } from '../tar/entry.js'
import { ByteReader } from './byte-reader.js'
import { isCleanPath, MAX_PATH } from './clean-path.js'
import {
  HAS_NANOSECONDS,
  HAS_XATTRS,
  IS_SPARSE,
  TOC_MAGIC,
  TOC_TYPES,
  TOC_VERSION,
  TYPE_MASK,
} from './toc-format.js'
import type { Toc, TocEntry, TocNote } from './toc.js'

export { encodeToc } from './toc-encoder.js'

/**
 * Decodes a toc from all of a file's bytes, the seal of the cache not among them.
 *
 * What is decoded is safe to apply whoever made the bytes: paths are clean, content lies in the device, and
 * memory is in proportion to the file. Nothing refers to `bytes` afterwards.
 *
 * @throws OcimountError `CACHE_CORRUPT`
 */
export function decodeToc(bytes: Buffer): Toc {
  const reader = new ByteReader(bytes, 'a table of contents')
  if (reader.remaining < TOC_MAGIC.length || reader.rawString(TOC_MAGIC.length) !== TOC_MAGIC) {
    throw reader.corrupt('it is none')
  }
  if (reader.byte() !== TOC_VERSION) throw reader.corrupt('it is of another version')
  const deviceSize = reader.unsigned()
  const sets = readItems(reader, 1, readXattrSet)
  const notes = readItems(reader, 3, readNote)
  const state: DecoderState = {
    deviceSize,
    sets,
    path: Buffer.alloc(MAX_PATH),
    pathLength: 0,
    headerOffset: 0,
  }
  const entries = readItems(reader, MIN_ENTRY_SIZE, () => readEntry(reader, state))
  if (reader.remaining > 0) throw reader.corrupt('bytes follow its end')
  return { entries, notes, deviceSize }
}

/** A byte for each field that every entry has. */
const MIN_ENTRY_SIZE = 9
const MIN_SEGMENT_SIZE = 3
const MAX_NANOSECONDS = 999_999_999

type XattrSet = ReadonlyMap<ByteString, Buffer>

interface DecoderState {
  readonly deviceSize: number
  readonly sets: readonly XattrSet[]
  /** The path of the entry before, as bytes. */
  readonly path: Buffer
  pathLength: number
  headerOffset: number
}

function readItems<T>(reader: ByteReader, minSize: number, read: (reader: ByteReader) => T): T[] {
  const count = reader.count(minSize)
  const items: T[] = []
  for (let index = 0; index < count; index++) items.push(read(reader))
  return items
}

function readXattrSet(reader: ByteReader): XattrSet {
  const count = reader.count(2)
  const set = new Map<ByteString, Buffer>()
  for (let index = 0; index < count; index++) set.set(reader.string(), reader.bytes())
  if (set.size !== count) throw reader.corrupt('a set of xattrs has a name twice')
  return set
}

function readNote(reader: ByteReader): TocNote {
  const kind = bytesOf(reader.string()).toString('utf8')
  const path = reader.string()
  const detail = bytesOf(reader.string()).toString('utf8')
  return { kind, path, detail }
}

function readEntry(reader: ByteReader, state: DecoderState): TocEntry {
  const flags = reader.byte()
  const type = TOC_TYPES[flags & TYPE_MASK]
  if (type === undefined || flags >= 0x80) throw reader.corrupt('an entry has an unknown type')
  const path = readPath(reader, state)
  const mode = reader.unsigned()
  const uid = reader.unsigned()
  const gid = reader.unsigned()
  const mtime = readTime(reader, flags)
  const headerOffset = inDevice(reader, state, state.headerOffset + reader.signed(), 0)
  state.headerOffset = headerOffset
  const dataStart = headerOffset + reader.signed()
  const size = type === 'file' ? reader.unsigned() : 0
  const isLink = type === 'symlink' || type === 'hardlink'
  const linkTarget = isLink ? reader.string() : NO_TARGET
  if (type === 'hardlink' && !isCleanPath(linkTarget)) throw reader.corrupt('a link is not clean')
  const isDevice = type === 'char' || type === 'block'
  const devMajor = isDevice ? reader.unsigned() : 0
  const devMinor = isDevice ? reader.unsigned() : 0
  const xattrs = (flags & HAS_XATTRS) === 0 ? undefined : state.sets[reader.unsigned()]
  if (xattrs === undefined && (flags & HAS_XATTRS) !== 0) {
    throw reader.corrupt('an entry refers to xattrs that are not there')
  }
  const isSparse = (flags & IS_SPARSE) !== 0
  if (isSparse && type !== 'file') throw reader.corrupt('an entry that is no file is sparse')
  const isPlainFile = type === 'file' && !isSparse
  const dataOffset = inDevice(reader, state, dataStart, isPlainFile ? size : 0)
  const sparse = isSparse ? readSegments(reader, state, dataOffset, size) : undefined
  return {
    path,
    type,
    mode,
    uid,
    gid,
    mtime,
    size,
    headerOffset,
    dataOffset,
    linkTarget,
    devMajor,
    devMinor,
    xattrs,
    sparse,
  }
}

const NO_TARGET = '' as ByteString

function readPath(reader: ByteReader, state: DecoderState): ByteString {
  const shared = reader.unsigned()
  const added = reader.unsigned()
  if (shared > state.pathLength || shared + added > MAX_PATH) {
    throw reader.corrupt('a path is too long')
  }
  reader.copyTo(state.path, shared, added)
  state.pathLength = shared + added
  const path = state.path.toString('latin1', 0, state.pathLength) as ByteString
  if (!isCleanPath(path)) throw reader.corrupt('a path is not clean')
  return path
}

function readTime(reader: ByteReader, flags: number): Timestamp {
  const seconds = reader.signed()
  const nanoseconds = (flags & HAS_NANOSECONDS) === 0 ? 0 : reader.unsigned()
  if (nanoseconds > MAX_NANOSECONDS) throw reader.corrupt('a time is not valid')
  return { seconds, nanoseconds }
}

function readSegments(
  reader: ByteReader,
  state: DecoderState,
  dataOffset: number,
  size: number,
): DataSegment[] {
  let fileEnd = 0
  let deviceEnd = dataOffset
  return readItems(reader, MIN_SEGMENT_SIZE, () => {
    const fileOffset = fileEnd + reader.unsigned()
    const start = deviceEnd + reader.signed()
    const length = reader.unsigned()
    const deviceOffset = inDevice(reader, state, start, length)
    fileEnd = fileOffset + length
    deviceEnd = deviceOffset + length
    if (fileEnd > size) throw reader.corrupt('a segment lies outside its file')
    return { fileOffset, deviceOffset, length }
  })
}

function inDevice(
  reader: ByteReader,
  { deviceSize }: DecoderState,
  offset: number,
  length: number,
): number {
  if (offset < 0 || offset + length > deviceSize) {
    throw reader.corrupt('an entry lies outside the device')
  }
  return offset
}
