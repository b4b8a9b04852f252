import type { ByteString } from '../byte-string.js'
import { byteString } from '../byte-string.js'
import { checkInside, corrupt } from './corrupt.js'
import { alignUp, XATTR_ENTRY_SIZE, XATTR_HEADER_SIZE } from './format.js'
import type { StoredInode } from './inode-reader.js'
import { joinXattrName } from './xattr-name.js'

/** One extended attribute; the value is a view of the image, not a copy. */
export interface ErofsXattr {
  readonly name: ByteString
  readonly value: Buffer
}

/**
 * Gives the extended attributes of an inode, those behind it first, then the shared ones, as the kernel
 * lists them.
 *
 * @throws `CACHE_CORRUPT`
 */
export function* readXattrs(
  bytes: Buffer,
  imageSize: number,
  place: { readonly inode: StoredInode; readonly sharedXattrsOffset: number },
): Generator<ErofsXattr, void, undefined> {
  const { xattrsOffset, xattrsSize } = place.inode
  if (xattrsSize === 0) return
  const end = xattrsOffset + xattrsSize
  const sharedCount = bytes[xattrsOffset + 4] ?? 0
  const sharedStart = xattrsOffset + XATTR_HEADER_SIZE
  let position = sharedStart + 4 * sharedCount
  if (position > end) throw corrupt(`the extended attributes at ${xattrsOffset} are damaged`)
  while (position < end) {
    const { xattr, next } = readEntry(bytes, end, position)
    yield xattr
    position = next
  }
  for (let index = 0; index < sharedCount; index++) {
    const id = bytes.readUInt32LE(sharedStart + 4 * index)
    yield readEntry(bytes, imageSize, place.sharedXattrsOffset + 4 * id).xattr
  }
}

function readEntry(
  bytes: Buffer,
  limit: number,
  offset: number,
): { readonly xattr: ErofsXattr; readonly next: number } {
  checkInside(offset, XATTR_ENTRY_SIZE, limit, 'an extended attribute')
  const nameStart = offset + XATTR_ENTRY_SIZE
  const valueStart = nameStart + (bytes[offset] ?? 0)
  const valueEnd = valueStart + bytes.readUInt16LE(offset + 2)
  const next = alignUp(valueEnd, 4)
  checkInside(offset, next - offset, limit, 'an extended attribute')
  const suffix = byteString(bytes.subarray(nameStart, valueStart))
  const name = joinXattrName(bytes[offset + 1] ?? 0, suffix)
  if (name === undefined) throw corrupt(`the extended attribute at ${offset} has an unknown prefix`)
  return { xattr: { name, value: bytes.subarray(valueStart, valueEnd) }, next }
}
