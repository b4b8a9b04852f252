// One member's header block together with the extensions that were announced for it. The order of precedence is that
// of Go's archive/tar, with which the engines read layers: PAX over the block, a GNU long name over both, and the
// name of a sparse file over all. Where readers differ here, an archive shows different files to each (B-110, S-20).

import type { ByteString } from '../byte-string.js'
import { tarCorrupt, type TarPlace } from './corrupt.js'
import type { TarEntry, TarEntryType, Timestamp } from './entry.js'
import {
  dialectOf,
  headerLinkName,
  headerPath,
  readNumbers,
  TYPE_AT,
  type TarDialect,
} from './header.js'
import type { Announced } from './meta.js'
import { parseDecimal } from './numeric.js'
import type { PaxRecords } from './pax.js'
import { paxSparseForm } from './sparse.js'
import { clampTimestamp, parsePaxTime } from './timestamp.js'

export type EntryDraft = { -readonly [Key in keyof TarEntry]: TarEntry[Key] }

export interface Member {
  /** Complete but for `dataOffset` and, in a sparse file, `size` and `sparse`. */
  readonly entry: EntryDraft
  readonly dialect: TarDialect
  /** The type byte as a character. */
  readonly typeFlag: string
  /** False for a type that is none of a file in a layer; the entry must not be listed. */
  readonly isKnown: boolean
  /** Bytes behind the header, without padding. */
  readonly storedSize: number
  /** The mtime was beyond what a timestamp holds exactly. */
  readonly isClamped: boolean
}

/**
 * Reads a header block.
 *
 * @param headerOffset device offset of the member's first block, extensions included
 * @throws OcimountError `TAR_CORRUPT` for a number that is malformed or out of range
 */
export function readMember(
  block: Buffer,
  at: number,
  announced: Announced,
  headerOffset: number,
): Member {
  const { pax, longName, longLink } = announced
  const dialect = dialectOf(block, at)
  const plainPath = longName || pax.path || headerPath(block, at, dialect)
  const path = sparseName(pax) || plainPath
  const place: TarPlace = { path, headerOffset }
  const numbers = readNumbers(block, at, dialect, place)

  const typeByte = block[at + TYPE_AT] ?? 0
  const type = entryType(typeByte, plainPath)
  const size = readSize(place, numbers.size, pax.size)
  const hasContent = !isHeaderOnly(typeByte) && !(typeByte === 0 && type === 'directory')
  const isDevice = type === 'char' || type === 'block'
  const isLink = type === 'symlink' || type === 'hardlink'
  const mtime = readTime(place, numbers.mtime, pax.mtime)
  const clamped = clampTimestamp(mtime)
  return {
    entry: {
      path,
      type: type ?? 'file',
      mode: readMode(place, numbers.mode),
      uid: inRange(place, 'uid', pax.uid === '' ? numbers.uid : parseDecimal(pax.uid)),
      gid: inRange(place, 'gid', pax.gid === '' ? numbers.gid : parseDecimal(pax.gid)),
      mtime: clamped,
      size: type === 'file' ? size : 0,
      headerOffset,
      dataOffset: 0,
      linkTarget: isLink ? longLink || pax.linkPath || headerLinkName(block, at) : NO_NAME,
      devMajor: isDevice ? inRange(place, 'devMajor', numbers.devMajor) : 0,
      devMinor: isDevice ? inRange(place, 'devMinor', numbers.devMinor) : 0,
      xattrs: pax.xattrs,
      sparse: undefined,
    },
    dialect,
    typeFlag: String.fromCharCode(typeByte),
    isKnown: type !== undefined,
    storedSize: hasContent ? size : 0,
    isClamped: clamped !== mtime,
  }
}

const NO_NAME = '' as ByteString
const MAX = {
  size: Number.MAX_SAFE_INTEGER,
  uid: 0xffff_ffff,
  gid: 0xffff_ffff,
  // The kernel's dev_t has 12 bits for the major and 20 for the minor number.
  devMajor: 0xfff,
  devMinor: 0xf_ffff,
} as const

function entryType(typeByte: number, path: ByteString): TarEntryType | undefined {
  switch (typeByte) {
    case 0x00:
    case 0x30: // '0'; before there was a type for directories, a trailing slash made one
      return path.endsWith('/') ? 'directory' : 'file'
    case 0x31: // '1'
      return 'hardlink'
    case 0x32: // '2'
      return 'symlink'
    case 0x33: // '3'
      return 'char'
    case 0x34: // '4'
      return 'block'
    case 0x35: // '5'
    case 0x44: // 'D', GNU dumpdir: a directory whose data lists the names in it
      return 'directory'
    case 0x36: // '6'
      return 'fifo'
    case 0x37: // '7', contiguous
    case 0x53: // 'S', GNU sparse
      return 'file'
    default:
      return undefined
  }
}

/** Types that never have data, whatever their size field says: '1' to '6'. */
function isHeaderOnly(typeByte: number): boolean {
  return typeByte >= 0x31 && typeByte <= 0x36
}

function sparseName(pax: Readonly<PaxRecords>): ByteString {
  if (pax.sparse === undefined) return NO_NAME
  const form = paxSparseForm(pax.sparse)
  return form === undefined || form === 'unknown' ? NO_NAME : pax.sparse.name
}

function readSize(place: TarPlace, inHeader: number, inPax: string): number {
  // PAX decides (B-106), but no writer puts a negative number into the block beside it.
  if (inHeader < 0) throw tarCorrupt(place, `size ${inHeader} is out of range`)
  return inRange(place, 'size', inPax === '' ? inHeader : parseDecimal(inPax))
}

function readMode(place: TarPlace, value: number): number {
  if (!Number.isSafeInteger(value)) throw tarCorrupt(place, `mode ${value} is out of range`)
  // Some writers store the type bits of st_mode too.
  return ((value % 0o10000) + 0o10000) % 0o10000
}

function readTime(place: TarPlace, inHeader: number, inPax: string): Timestamp {
  if (inPax === '') return { seconds: inHeader, nanoseconds: 0 }
  const time = parsePaxTime(inPax)
  if (time === undefined) throw tarCorrupt(place, 'the PAX record mtime is no time')
  return time
}

function inRange(place: TarPlace, field: keyof typeof MAX, value: number): number {
  if (Number.isSafeInteger(value) && value >= 0 && value <= MAX[field]) return value
  const why = Number.isNaN(value)
    ? `the PAX record ${field} is no number`
    : `${field} ${value} is out of range`
  throw tarCorrupt(place, why)
}
