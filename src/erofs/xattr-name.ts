// Which extended attributes EROFS can hold, and in what form. A name is stored as the number of its prefix
// and the rest. Values are stored as getxattr(2) shows them, POSIX ACLs too: other than ext4, EROFS keeps
// them in the form of the system call, so nothing is converted, only what the kernel ignores is made uniform.

import type { ByteString } from '../byte-string.js'

/** The prefixes by their number on disk. ACL names are all prefix; nothing follows. */
const PREFIXES: readonly { readonly index: number; readonly prefix: string }[] = [
  { index: 1, prefix: 'user.' },
  { index: 4, prefix: 'trusted.' },
  { index: 6, prefix: 'security.' },
  { index: 2, prefix: 'system.posix_acl_access' },
  { index: 3, prefix: 'system.posix_acl_default' },
]

/** The kernel's XATTR_NAME_MAX. */
const MAX_XATTR_NAME = 255
/** A size has 16 bits on disk; the kernel's own limit is one byte more. */
const MAX_XATTR_VALUE = 0xffff

export interface SplitXattrName {
  readonly index: number
  readonly suffix: ByteString
}

/** Splits a full name into what is stored of it, or gives undefined where EROFS has no form for it. */
export function splitXattrName(name: ByteString): SplitXattrName | undefined {
  for (const { index, prefix } of PREFIXES) {
    if (!name.startsWith(prefix)) continue
    const suffix = name.slice(prefix.length) as ByteString
    if (isAcl(index) !== (suffix === '')) return undefined
    return { index, suffix }
  }
  return undefined
}

/** Gives the full name back, or undefined for a number that is not in use. */
export function joinXattrName(index: number, suffix: ByteString): ByteString | undefined {
  const entry = PREFIXES.find((candidate) => candidate.index === index)
  return entry === undefined ? undefined : ((entry.prefix + suffix) as ByteString)
}

/**
 * Says why an extended attribute cannot be stored, in words that fit behind a colon, or gives undefined
 * where it can.
 *
 * An ACL that the kernel cannot parse counts: with it, every permission check on the inode would fail.
 */
export function xattrProblem(name: ByteString, value: Uint8Array): string | undefined {
  const split = splitXattrName(name)
  if (split === undefined) return 'EROFS has no such name prefix'
  if (name.length > MAX_XATTR_NAME) return 'its name is longer than 255 bytes'
  if (name.includes('\0')) return 'its name has a NUL byte'
  if (value.length > MAX_XATTR_VALUE) return 'its value is longer than 65535 bytes'
  if (isAcl(split.index) && !isParsableAcl(value)) return 'it is not a valid access control list'
  return undefined
}

/** Gives the bytes to store for a value that has no {@link xattrProblem}. */
export function xattrValueToStore(index: number, value: Buffer): Buffer {
  if (!isAcl(index)) return value
  const copy = Buffer.from(value)
  for (let offset = ACL_HEADER_SIZE; offset < copy.length; offset += ACL_ENTRY_SIZE) {
    if (!ACL_TAGS_WITH_ID.has(copy.readUInt16LE(offset))) {
      copy.writeUInt32LE(ACL_UNDEFINED_ID, offset + ACL_ENTRY_ID)
    }
  }
  return copy
}

// include/uapi/linux/posix_acl_xattr.h: u32 version, then entries of u16 tag, u16 permissions, u32 id.
const ACL_VERSION = 2
const ACL_HEADER_SIZE = 4
const ACL_ENTRY_SIZE = 8
const ACL_ENTRY_ID = 4
const ACL_UNDEFINED_ID = 0xffffffff
const ACL_USER = 0x02
const ACL_GROUP = 0x08
const ACL_TAGS_WITH_ID: ReadonlySet<number> = new Set([ACL_USER, ACL_GROUP])
const ACL_TAGS_WITHOUT_ID: ReadonlySet<number> = new Set([0x01, 0x04, 0x10, 0x20])

function isAcl(index: number): boolean {
  return index === 2 || index === 3
}

function isParsableAcl(value: Uint8Array): boolean {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  const body = value.length - ACL_HEADER_SIZE
  // A list of no entries is one that the kernel takes for absent.
  if (body <= 0 || body % ACL_ENTRY_SIZE !== 0) return false
  if (view.getUint32(0, true) !== ACL_VERSION) return false
  for (let offset = ACL_HEADER_SIZE; offset < value.length; offset += ACL_ENTRY_SIZE) {
    const tag = view.getUint16(offset, true)
    if (ACL_TAGS_WITHOUT_ID.has(tag)) continue
    if (!ACL_TAGS_WITH_ID.has(tag)) return false
    if (view.getUint32(offset + ACL_ENTRY_ID, true) === ACL_UNDEFINED_ID) return false
  }
  return true
}
