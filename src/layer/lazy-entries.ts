// Entries of an eStargz or zstd:chunked table of contents as they are written in it, with the checks that each field needs by
// itself. What they come to together is the business of lazy-toc.ts.

import { byteStringOf, type ByteString } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { foldCase } from '../image/field-reader.js'
import type { JsonObject, JsonValue } from '../image/json.js'
import { quote } from '../image/quote.js'
import type { TarEntry, TarEntryType, Timestamp } from '../tar/entry.js'

/** One entry; absent fields are 0 or empty. */
export interface LazyEntry {
  readonly name: ByteString
  readonly type: string
  readonly size: number
  readonly modtime: Timestamp
  readonly linkName: ByteString
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly devMajor: number
  readonly devMinor: number
  readonly xattrs: ReadonlyMap<ByteString, Buffer> | undefined
  /** SHA-256 of the file, in hex digits. */
  readonly digest: string | undefined
  readonly offset: number
  readonly endOffset: number
  readonly innerOffset: number
  readonly chunkOffset: number
  readonly chunkSize: number
  readonly chunkDigest: string | undefined
  readonly chunkType: string
}

/**
 * Reads one entry.
 *
 * @throws OcimountError `LAYER_CORRUPT` saying which field of which entry is wrong
 */
export function readLazyEntry(value: JsonValue): LazyEntry {
  if (!(value instanceof Map)) throw unusable('', 'it is not an object')
  const fields = value as JsonObject
  const name = textOf(fields, 'name')
  refuseOtherCase(fields, name)
  return {
    name: nameOf(fields, 'name'),
    type: textOf(fields, 'type'),
    size: numberOf(fields, 'size'),
    modtime: timeOf(fields, name),
    linkName: nameOf(fields, 'linkName'),
    mode: numberOf(fields, 'mode'),
    uid: numberOf(fields, 'uid'),
    gid: numberOf(fields, 'gid'),
    devMajor: numberOf(fields, 'devMajor'),
    devMinor: numberOf(fields, 'devMinor'),
    xattrs: xattrsOf(fields, name),
    digest: digestOf(fields, 'digest'),
    offset: numberOf(fields, 'offset'),
    endOffset: numberOf(fields, 'endOffset'),
    innerOffset: numberOf(fields, 'innerOffset'),
    chunkOffset: numberOf(fields, 'chunkOffset'),
    chunkSize: numberOf(fields, 'chunkSize'),
    chunkDigest: digestOf(fields, 'chunkDigest'),
    chunkType: textOf(fields, 'chunkType'),
  }
}

/**
 * Makes an entry as of a tar, with its content from `dataOffset` of the device on.
 *
 * @throws OcimountError `LAYER_CORRUPT` for an unknown type
 */
export function toTarEntry(
  entry: LazyEntry,
  dataOffset: number,
  sparse: TarEntry['sparse'],
): TarEntry {
  const type = TYPES.get(entry.type)
  if (type === undefined) throw unusable(entry.name, 'it is of an unknown type')
  const isDevice = type === 'char' || type === 'block'
  return {
    path: entry.name,
    type,
    mode: entry.mode & PERMISSIONS,
    uid: entry.uid,
    gid: entry.gid,
    mtime: entry.modtime,
    size: type === 'file' ? entry.size : 0,
    headerOffset: dataOffset,
    dataOffset,
    linkTarget: type === 'symlink' || type === 'hardlink' ? entry.linkName : NO_NAME,
    devMajor: isDevice ? entry.devMajor : 0,
    devMinor: isDevice ? entry.devMinor : 0,
    xattrs: entry.xattrs,
    sparse,
  }
}

export const NO_NAME = '' as ByteString
/** Some writers have the type among the bits, as stat(2) does. */
export const PERMISSIONS = 0o7777
const TYPES: ReadonlyMap<string, TarEntryType> = new Map([
  ['reg', 'file'],
  ['dir', 'directory'],
  ['symlink', 'symlink'],
  ['hardlink', 'hardlink'],
  ['char', 'char'],
  ['block', 'block'],
  ['fifo', 'fifo'],
])
/** By the number that the addon has for them (`LazyType` of native-bindings/src/lazy_entry.h); none for a chunk. */
export const LISTED_TYPES: readonly (TarEntryType | undefined)[] = [undefined, ...TYPES.values()]

/** Makes the error for an entry that cannot be used. */
export function unusable(name: string, why: string): OcimountError {
  const which = name === '' ? 'an entry' : `entry ${quote(name)}`
  return new OcimountError('LAYER_CORRUPT', `Cannot use ${which}: ${why}`)
}

const FIELDS: readonly (keyof LazyEntry)[] = [
  ...(['name', 'type', 'size', 'modtime', 'linkName', 'mode', 'uid', 'gid'] as const),
  ...(['devMajor', 'devMinor', 'xattrs', 'digest', 'offset', 'endOffset'] as const),
  ...(['innerOffset', 'chunkOffset', 'chunkSize', 'chunkDigest', 'chunkType'] as const),
]
const KNOWN: ReadonlySet<string> = new Set(FIELDS)
const FOLDED: ReadonlySet<string> = new Set(FIELDS.map(foldCase))

/** Go takes `Offset` for `offset`; two readers must not see two layers (checklist A-062). */
function refuseOtherCase(fields: JsonObject, name: string): void {
  for (const key of fields.keys()) {
    if (KNOWN.has(key) || unknown.has(key)) continue
    if (FOLDED.has(foldCase(key))) {
      throw unusable(name, `its field ${quote(key)} differs from a known one only in case`)
    }
    if (unknown.size < MAX_UNKNOWN) unknown.add(key)
  }
}

/** Names that were looked at: each entry of a table has the same. */
const unknown = new Set<string>()
const MAX_UNKNOWN = 64

function textOf(fields: JsonObject, field: string): string {
  const value = fields.get(field) ?? ''
  if (typeof value === 'string') return value
  throw unusable(shownName(fields), `its ${field} is not a string`)
}

/** JSON of Go has U+FFFD for what is not UTF-8: such a table does not say what the names are. */
function nameOf(fields: JsonObject, field: string): ByteString {
  const text = textOf(fields, field)
  if (text.includes('\ufffd')) throw unusable(text, `its ${field} is not what the archive has`)
  return byteStringOf(text)
}

function numberOf(fields: JsonObject, field: string): number {
  const value = fields.get(field) ?? 0
  if (typeof value === 'number' && value >= 0) return value
  throw unusable(shownName(fields), `its ${field} is not a number that it could be`)
}

function digestOf(fields: JsonObject, field: string): string | undefined {
  const text = textOf(fields, field)
  if (text === '') return undefined
  if (SHA256.test(text)) return text.slice(SHA256_PREFIX)
  throw unusable(shownName(fields), `its ${field} is not a SHA-256`)
}

const SHA256 = /^sha256:[0-9a-f]{64}$/
const SHA256_PREFIX = 'sha256:'.length

function timeOf(fields: JsonObject, name: string): Timestamp {
  const text = textOf(fields, 'modtime')
  // Unknown, and what Go has for that.
  if (text === '' || text === '0001-01-01T00:00:00Z') return EPOCH
  // Whole directories are of one second.
  if (text === last.text) return last.time
  const [, date = '', fraction = '', zone = ''] = TIME.exec(text) ?? []
  const seconds = Date.parse(date + zone) / 1000
  if (!Number.isSafeInteger(seconds)) throw unusable(name, `its modtime is ${quote(text)}`)
  const time = { seconds, nanoseconds: Number(fraction.slice(0, 9).padEnd(9, '0')) }
  last = { text, time }
  return time
}

const EPOCH = { seconds: 0, nanoseconds: 0 }
let last: { readonly text: string; readonly time: Timestamp } = { text: '', time: EPOCH }
const TIME = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d+))?(Z|[+-]\d{2}:\d{2})$/

function xattrsOf(fields: JsonObject, name: string): ReadonlyMap<ByteString, Buffer> | undefined {
  const value = fields.get('xattrs')
  if (value === undefined || value === null) return undefined
  if (!(value instanceof Map)) throw unusable(name, 'its xattrs are not an object')
  const xattrs = new Map<ByteString, Buffer>()
  for (const [key, text] of value as JsonObject) {
    const bytes = typeof text === 'string' ? Buffer.from(text, 'base64') : undefined
    if (bytes?.toString('base64') !== text || key.includes('\ufffd')) {
      throw unusable(name, `its xattr ${quote(key)} is not what the archive has`)
    }
    xattrs.set(byteStringOf(key), bytes)
  }
  return xattrs.size === 0 ? undefined : xattrs
}

function shownName(fields: JsonObject): string {
  const name = fields.get('name')
  return typeof name === 'string' ? name : ''
}
