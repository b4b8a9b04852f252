// The header block: 512 bytes, the same first 257 in every dialect.
//
//   0 name 100 · 100 mode 8 · 108 uid 8 · 116 gid 8 · 124 size 12 · 136 mtime 12 · 148 checksum 8 · 156 type 1 ·
//   157 link name 100 · 257 magic 6 · 263 version 2 · 265 uname 32 · 297 gname 32 · 329 devmajor 8 · 337 devminor 8
//   ustar: 345 prefix 155 · STAR: 345 prefix 131, 476 atime 12, 488 ctime 12, 508 "tar\0"
//   GNU:   345 atime 12 · 357 ctime 12 · 386 sparse map 4 x 24 · 482 more of it 1 · 483 real size 12

import type { ByteString } from '../byte-string.js'
import { tarCorrupt, type TarPlace } from './corrupt.js'
import { parseNumeric, parseOctal } from './numeric.js'

export const BLOCK_SIZE = 512

/** Where the numeric fields lie in a header block, and how long they are. */
export const FIELD = {
  mode: { at: 100, length: 8 },
  uid: { at: 108, length: 8 },
  gid: { at: 116, length: 8 },
  size: { at: 124, length: 12 },
  mtime: { at: 136, length: 12 },
  devMajor: { at: 329, length: 8 },
  devMinor: { at: 337, length: 8 },
  realSize: { at: 483, length: 12 },
} as const

/** The type byte as a character code. */
export const TYPE_AT = 156

const CHECKSUM_AT = 148
const CHECKSUM_LENGTH = 8

/** Gives another view of the same bytes, through which numbers are read faster. */
export function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** PAX headers are `ustar`; a block without a known magic is `v7`. */
export type TarDialect = 'v7' | 'ustar' | 'star' | 'gnu'

/** Tells whether the block holds nothing but zeros. */
export function isZeroBlock(bytes: Uint8Array, at: number): boolean {
  for (let index = at; index < at + BLOCK_SIZE; index++) if (bytes[index] !== 0) return false
  return true
}

/**
 * Tells whether the checksum is right.
 *
 * It is the sum of all bytes with the field itself as spaces; old Sun tars summed signed bytes. `view` is of the same bytes.
 */
export function isChecksumRight(bytes: Uint8Array, at: number, view: DataView): boolean {
  const stored = parseOctal(bytes, at + CHECKSUM_AT, CHECKSUM_LENGTH)
  let sum = sumBlock(view, at) + CHECKSUM_LENGTH * 0x20
  for (let index = at + CHECKSUM_AT; index < at + CHECKSUM_AT + CHECKSUM_LENGTH; index++) {
    sum -= bytes[index] ?? 0
  }
  return stored === sum || stored === sum - 256 * countHighBytes(bytes, at)
}

/** Names the dialect by magic and trailer. */
export function dialectOf(bytes: Uint8Array, at: number): TarDialect {
  if (!hasText(bytes, at + 257, 'ustar')) return 'v7'
  if (bytes[at + 262] === 0) return hasText(bytes, at + 508, 'tar\0') ? 'star' : 'ustar'
  return hasText(bytes, at + 262, '  \0') ? 'gnu' : 'v7'
}

/** The numeric fields that count for any member. */
export interface HeaderNumbers {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtime: number
  /** Where the dialect has none, the device's two are 0. */
  readonly devMajor: number
  readonly devMinor: number
}

/**
 * Reads the numeric fields and checks that every one holds a number, whether or not it counts for this member; so does Go.
 *
 * @throws OcimountError `TAR_CORRUPT` about `place`
 */
export function readNumbers(
  bytes: Uint8Array,
  at: number,
  dialect: TarDialect,
  place: TarPlace,
): HeaderNumbers {
  const hasDevice = dialect !== 'v7'
  const numbers = {
    mode: parseNumeric(bytes, at + FIELD.mode.at, FIELD.mode.length),
    uid: parseNumeric(bytes, at + FIELD.uid.at, FIELD.uid.length),
    gid: parseNumeric(bytes, at + FIELD.gid.at, FIELD.gid.length),
    size: parseNumeric(bytes, at + FIELD.size.at, FIELD.size.length),
    mtime: parseNumeric(bytes, at + FIELD.mtime.at, FIELD.mtime.length),
    devMajor: hasDevice ? parseNumeric(bytes, at + FIELD.devMajor.at, FIELD.devMajor.length) : 0,
    devMinor: hasDevice ? parseNumeric(bytes, at + FIELD.devMinor.at, FIELD.devMinor.length) : 0,
  }
  const { mode, uid, gid, size, mtime, devMajor, devMinor } = numbers
  // No field holds an infinite number, so that only one that is none makes none of the sum.
  if (Number.isNaN(mode + uid + gid + size + mtime + devMajor + devMinor)) {
    const [field = ''] = Object.entries(numbers).find(([, value]) => Number.isNaN(value)) ?? []
    throw tarCorrupt(place, `the ${field} field is no number`)
  }
  return numbers
}

/** Gives the path that the header holds by itself, prefix included. */
export function headerPath(bytes: Buffer, at: number, dialect: TarDialect): ByteString {
  const name = cString(bytes, at, 100)
  const prefix = headerPrefix(bytes, at, dialect)
  return prefix === '' ? name : (`${prefix}/${name}` as ByteString)
}

/** Gives the link name that the header holds by itself. */
export function headerLinkName(bytes: Buffer, at: number): ByteString {
  return cString(bytes, at + 157, 100)
}

/** Gives the bytes of a field up to its first NUL. */
export function cString(bytes: Buffer, at: number, length: number): ByteString {
  let end = at
  while (end < at + length && bytes[end] !== 0) end++
  return (end === at ? '' : bytes.toString('latin1', at, end)) as ByteString
}

function headerPrefix(bytes: Buffer, at: number, dialect: TarDialect): string {
  switch (dialect) {
    case 'v7':
      return ''
    case 'ustar':
      return cString(bytes, at + 345, 155)
    case 'star':
      return cString(bytes, at + 345, 131)
    case 'gnu':
      // GNU keeps two times there. Go before 1.8, which wrote the layers of early Docker, put a prefix in a
      // block with GNU magic; where the times are no numbers and the field is ASCII, that is what it is.
      if (isTime(bytes, at + 345) && isTime(bytes, at + 357)) return ''
      return asciiOrNothing(cString(bytes, at + 345, 155))
  }
}

function isTime(bytes: Buffer, at: number): boolean {
  return bytes[at] === 0 || Number.isSafeInteger(parseNumeric(bytes, at, 12))
}

function asciiOrNothing(text: string): string {
  // eslint-disable-next-line no-control-regex -- the whole ASCII range is meant
  return /^[\x01-\x7f]*$/.test(text) ? text : ''
}

function hasText(bytes: Uint8Array, at: number, text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    if (bytes[at + index] !== text.charCodeAt(index)) return false
  }
  return true
}

/**
 * Adds up the bytes of a block, four at a time: of all that is done for a header, one byte at a time took longest. In each half of
 * either sum 128 bytes come to less than 2^15.
 */
function sumBlock(view: DataView, at: number): number {
  let even = 0
  let odd = 0
  for (let index = at; index < at + BLOCK_SIZE; index += 4) {
    const word = view.getInt32(index, true)
    even += word & 0xff00ff
    odd += (word >>> 8) & 0xff00ff
  }
  return (even & 0xffff) + (even >>> 16) + (odd & 0xffff) + (odd >>> 16)
}

function countHighBytes(bytes: Uint8Array, at: number): number {
  let count = 0
  for (let index = at; index < at + BLOCK_SIZE; index++) {
    const isInField = index >= at + CHECKSUM_AT && index < at + CHECKSUM_AT + CHECKSUM_LENGTH
    if (!isInField && (bytes[index] ?? 0) >= 0x80) count++
  }
  return count
}
