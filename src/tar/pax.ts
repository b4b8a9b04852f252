// PAX records: `<length> <key>=<value>\n`, the length in decimal and counting itself. Keys and values are bytes
// here, so that `hdrcharset` makes no difference (checklist B-124). LIBARCHIVE.xattr.* and the ACL keys of star are
// not read, as no container engine reads them.

import { escapeName, type ByteString } from '../byte-string.js'
import { tarCorrupt, type TarPlace } from './corrupt.js'

/** The `GNU.sparse.*` records of a member; an empty string is a record that is not there. */
export interface PaxSparse {
  major: ByteString
  minor: ByteString
  name: ByteString
  size: ByteString
  realSize: ByteString
  blockCount: ByteString
  /** Offsets and lengths in turn, as text. */
  map: readonly ByteString[]
}

/**
 * The records that matter, the last of each key; an empty value takes a record back, and both are the
 * empty string here. An xattr may well be empty.
 */
export interface PaxRecords {
  path: ByteString
  linkPath: ByteString
  size: ByteString
  uid: ByteString
  gid: ByteString
  mtime: ByteString
  xattrs: Map<ByteString, Buffer> | undefined
  sparse: PaxSparse | undefined
  /** All keys in their order, for whoever ignores the header and says so. */
  readonly keys: readonly ByteString[]
}

const EMPTY = '' as ByteString

/** No records at all. */
export const NO_PAX: Readonly<PaxRecords> = {
  path: EMPTY,
  linkPath: EMPTY,
  size: EMPTY,
  uid: EMPTY,
  gid: EMPTY,
  mtime: EMPTY,
  xattrs: undefined,
  sparse: undefined,
  keys: [],
}

/**
 * Parses the body of a PAX header.
 *
 * @throws OcimountError `TAR_CORRUPT` for a malformed record, about `place`
 */
export function parsePax(body: Buffer, place: TarPlace): PaxRecords {
  const keys: ByteString[] = []
  const records: PaxRecords = { ...NO_PAX, keys }
  const pairs: ByteString[] = []
  let at = 0
  while (at < body.length) {
    const space = endOfLength(body, at)
    const end = space < 0 ? NaN : at + Number(body.toString('latin1', at, space))
    if (!(end > space + 1 && end <= body.length && body[end - 1] === NEWLINE)) {
      throw tarCorrupt(place, `PAX record at byte ${at} has a wrong length`)
    }
    const equals = body.indexOf(EQUALS, space + 1)
    if (equals < 0 || equals >= end) throw tarCorrupt(place, `PAX record at byte ${at} has no "="`)
    const key = body.toString('latin1', space + 1, equals) as ByteString
    if (key.includes('\0')) throw tarCorrupt(place, `PAX key "${escapeName(key)}" has a NUL in it`)
    keys.push(key)
    if (key.startsWith(XATTR_PREFIX)) {
      records.xattrs ??= new Map()
      const name = key.slice(XATTR_PREFIX.length) as ByteString
      records.xattrs.set(name, Buffer.from(body.subarray(equals + 1, end - 1)))
    } else {
      setRecord(
        records,
        pairs,
        key,
        body.toString('latin1', equals + 1, end - 1) as ByteString,
        place,
      )
    }
    at = end
  }
  if (pairs.length > 0) sparseOf(records).map = pairs
  return records
}

const XATTR_PREFIX = 'SCHILY.xattr.'
const NEWLINE = 0x0a
const EQUALS = 0x3d
// A body is at most 1 MiB; more digits cannot be right and would only cost time.
const MAX_LENGTH_DIGITS = 10

/** Gives where the space after the length stands, or -1 where there is no length. */
function endOfLength(body: Buffer, start: number): number {
  let at = start
  while (at - start < MAX_LENGTH_DIGITS && isDigit(body[at])) at++
  return at > start && body[at] === 0x20 ? at : -1
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}

function setRecord(
  records: PaxRecords,
  pairs: ByteString[],
  key: ByteString,
  value: ByteString,
  place: TarPlace,
): void {
  switch (key as string) {
    case 'path':
      records.path = withoutNul(key, value, place)
      break
    case 'linkpath':
      records.linkPath = withoutNul(key, value, place)
      break
    case 'uname':
    case 'gname':
      withoutNul(key, value, place)
      break
    case 'size':
      records.size = value
      break
    case 'uid':
      records.uid = value
      break
    case 'gid':
      records.gid = value
      break
    case 'mtime':
      records.mtime = value
      break
    case 'GNU.sparse.offset':
    case 'GNU.sparse.numbytes':
      // Form 0.0 repeats these two keys, strictly in turn.
      if ((pairs.length % 2 === 0) !== (key as string).endsWith('offset')) {
        throw tarCorrupt(place, `PAX record ${key} is out of turn`)
      }
      pairs.push(value)
      break
    default:
      if (key.startsWith('GNU.sparse.')) setSparseRecord(records, key, value)
  }
}

function setSparseRecord(records: PaxRecords, key: ByteString, value: ByteString): void {
  const sparse = sparseOf(records)
  switch (key as string) {
    case 'GNU.sparse.major':
      sparse.major = value
      break
    case 'GNU.sparse.minor':
      sparse.minor = value
      break
    case 'GNU.sparse.name':
      sparse.name = value
      break
    case 'GNU.sparse.size':
      sparse.size = value
      break
    case 'GNU.sparse.realsize':
      sparse.realSize = value
      break
    case 'GNU.sparse.numblocks':
      sparse.blockCount = value
      break
    case 'GNU.sparse.map':
      sparse.map = value === '' ? [] : (value.split(',') as ByteString[])
      break
  }
}

function sparseOf(records: PaxRecords): PaxSparse {
  records.sparse ??= {
    major: EMPTY,
    minor: EMPTY,
    name: EMPTY,
    size: EMPTY,
    realSize: EMPTY,
    blockCount: EMPTY,
    map: [],
  }
  return records.sparse
}

function withoutNul(key: string, value: ByteString, place: TarPlace): ByteString {
  if (value.includes('\0')) throw tarCorrupt(place, `PAX record ${key} has a NUL in it`)
  return value
}
