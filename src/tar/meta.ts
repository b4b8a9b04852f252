// Members that are no files but say something about the next one: PAX headers and GNU long names.

import type { ByteString } from '../byte-string.js'
import { tarCorrupt, tarLimitExceeded, type TarPlace } from './corrupt.js'
import { cString, dialectOf, headerPath, readNumbers, TYPE_AT } from './header.js'
import { MAX_META_BODY } from './limits.js'
import { NO_PAX, parsePax, type PaxRecords } from './pax.js'

/** What was said about the next member; empty names were not given. */
export interface Announced {
  readonly pax: Readonly<PaxRecords>
  readonly longName: ByteString
  readonly longLink: ByteString
}

/** A header whose body, of `size` bytes, has still to be read. */
export interface MetaHeader {
  readonly type: 'x' | 'g' | 'L' | 'K'
  readonly size: number
  readonly place: TarPlace & { readonly path: ByteString }
}

export const NOTHING_ANNOUNCED: Announced = {
  pax: NO_PAX,
  longName: '' as ByteString,
  longLink: '' as ByteString,
}

/**
 * Reads the header of such a member; undefined for any other.
 *
 * @throws OcimountError `TAR_CORRUPT` for a bad number, `LIMIT_EXCEEDED` for a body above 1 MiB
 */
export function readMetaHeader(
  block: Buffer,
  at: number,
  headerOffset: number,
): MetaHeader | undefined {
  const type = metaType(block[at + TYPE_AT])
  if (type === undefined) return undefined
  const dialect = dialectOf(block, at)
  const place = { path: headerPath(block, at, dialect), headerOffset }
  const { size } = readNumbers(block, at, dialect, place)
  if (size < 0) throw tarCorrupt(place, `size ${size} is out of range`)
  if (size <= MAX_META_BODY) return { type, size, place }
  throw tarLimitExceeded(place, `type ${type} with ${size} bytes is larger than ${MAX_META_BODY}`)
}

/**
 * Adds the body of an `x`, `L` or `K` member to what was said before; the last of each kind counts.
 *
 * @throws OcimountError `TAR_CORRUPT` for malformed PAX records
 */
export function announce(before: Announced, { type, place }: MetaHeader, body: Buffer): Announced {
  switch (type) {
    case 'x':
      return { ...before, pax: parsePax(body, place) }
    case 'L':
      return { ...before, longName: cString(body, 0, body.length) }
    case 'K':
      return { ...before, longLink: cString(body, 0, body.length) }
    case 'g':
      // Go's reader hands a global header out as if it were a member, and so forgets what came before it.
      return NOTHING_ANNOUNCED
  }
}

function metaType(typeByte: number | undefined): MetaHeader['type'] | undefined {
  switch (typeByte) {
    case 0x78: // 'x'
    case 0x58: // 'X', the same in Solaris before POSIX.1-2001
      return 'x'
    case 0x67: // 'g'
      return 'g'
    case 0x4c: // 'L'
      return 'L'
    case 0x4b: // 'K'
      return 'K'
    default:
      return undefined
  }
}
