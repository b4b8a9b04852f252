// One inode between the tree and the disk: checked against what the format can hold, and measured.

import { escapeName, type ByteString } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { planChunks, type ChunkPlan } from './chunk-plan.js'
import { directorySize } from './directory-block.js'
import {
  FILE_TYPES,
  MAX_NAME_LENGTH,
  MAX_SYMLINK_LENGTH,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from './format.js'
import type { ErofsDevice, ErofsNode } from './node.js'
import type { XattrSet, XattrTable } from './xattr-table.js'

export interface PlannedInode {
  readonly node: ErofsNode
  /** Number of the kind in {@link FILE_TYPES}. */
  readonly fileType: number
  /** Bytes of content: of a file, of a link's target, of a directory's blocks. */
  readonly size: number
  /** How the content of a regular file is cut: see {@link ChunkPlan}; no chunks for all other content. */
  readonly chunkBits: number
  readonly chunkCount: number
  readonly xattrs: XattrSet | undefined
  /** A directory's names in order, `.` and `..` included. */
  readonly names: readonly ByteString[] | undefined
  linkCount: number
  /** 0 until it is placed. */
  nid: number
  /** Where the whole blocks of a directory or symbolic link start; 0 where it has none. */
  blocksOffset: number
  /** Where the rest of the content lies behind the inode; 0 where there is none. */
  tailOffset: number
}

/** What {@link planInode} measures an inode against. */
export interface PlanContext {
  readonly devices: readonly ErofsDevice[]
  readonly xattrs: XattrTable
}

/**
 * Checks and measures one inode. `name` is one of its names, for messages.
 *
 * @throws `INTERNAL` for what a caller must not hand over: a name that is not one, an extent outside its
 *   device or file, content that {@link planChunks} cannot place, a number out of range.
 */
export function planInode(
  node: ErofsNode,
  name: ByteString,
  { devices, xattrs }: PlanContext,
): PlannedInode {
  checkNumbers(node, name)
  const kind = node.mode & S_IFMT
  const names = kind === S_IFDIR ? sortedNames(node) : undefined
  let size = 0
  let chunks = NO_CHUNKS
  if (kind === S_IFREG) {
    size = node.size ?? -1
    chunks = planContent(node, name, devices)
  } else if (kind === S_IFLNK) {
    size = targetLength(node, name)
  } else if (names !== undefined) {
    size = directorySize(names)
  }
  return {
    node,
    fileType: FILE_TYPES.indexOf(kind),
    size,
    chunkBits: chunks.chunkBits,
    chunkCount: chunks.chunkCount,
    xattrs:
      node.xattrs === undefined || node.xattrs.size === 0 ? undefined : xattrs.add(node.xattrs),
    names,
    linkCount: names === undefined ? 0 : 2,
    nid: 0,
    blocksOffset: 0,
    tailOffset: 0,
  }
}

/** Makes the error for a tree that breaks the writer's contract. */
export function misuse(name: ByteString, why: string): OcimountError {
  return new OcimountError('INTERNAL', `Cannot write ${escapeName(name)} to an EROFS image: ${why}`)
}

function sortedNames(node: ErofsNode): ByteString[] {
  const names = node.children === undefined ? [] : [...node.children.keys()]
  for (const name of names) if (!isFileName(name)) throw misuse(name, 'it is not a file name')
  names.push('.' as ByteString, '..' as ByteString)
  // The default order is that of UTF-16 units, which here are the bytes.
  return names.sort()
}

function isFileName(name: ByteString): boolean {
  if (name.length === 0 || name.length > MAX_NAME_LENGTH) return false
  if (name === '.' || name === '..') return false
  return !name.includes('/') && !name.includes('\0')
}

const NO_CHUNKS: ChunkPlan = { chunkBits: 0, chunkCount: 0 }

function planContent(
  node: ErofsNode,
  name: ByteString,
  devices: readonly ErofsDevice[],
): ChunkPlan {
  const size = node.size ?? -1
  if (!Number.isSafeInteger(size) || size < 0) throw misuse(name, 'it has no size')
  const extents = node.extents ?? []
  const chunks = planChunks(size, extents)
  if (chunks === undefined) throw misuse(name, 'its extents do not line up with chunks and blocks')
  for (const extent of extents) {
    const device = devices[extent.device]
    if (device === undefined || extent.deviceOffset + extent.length > device.size) {
      throw misuse(name, 'an extent is outside its device')
    }
  }
  return chunks
}

function targetLength(node: ErofsNode, name: ByteString): number {
  const target = node.target ?? ''
  if (target.length === 0 || target.length > MAX_SYMLINK_LENGTH || target.includes('\0')) {
    throw misuse(name, 'its target is empty, longer than 4095 bytes or has a NUL byte')
  }
  return target.length
}

/** The kernel packs a device number into 32 bits: 12 for the major number, 20 for the minor number. */
const MAX_DEV_MAJOR = 0xfff
const MAX_DEV_MINOR = 0xfffff
const MAX_NANOSECONDS = 999_999_999

function checkNumbers(node: ErofsNode, name: ByteString): void {
  const kind = node.mode & S_IFMT
  const isDevice = kind === S_IFCHR || kind === S_IFBLK
  const isSound =
    isWithin(node.mode, 0xffff) &&
    kind !== 0 &&
    FILE_TYPES.includes(kind) &&
    isWithin(node.uid, 0xffffffff) &&
    isWithin(node.gid, 0xffffffff) &&
    Number.isSafeInteger(node.mtimeSeconds) &&
    isWithin(node.mtimeNanoseconds, MAX_NANOSECONDS) &&
    (!isDevice ||
      (isWithin(node.devMajor ?? 0, MAX_DEV_MAJOR) && isWithin(node.devMinor ?? 0, MAX_DEV_MINOR)))
  if (!isSound) throw misuse(name, 'its mode, owner, time or device number is out of range')
}

function isWithin(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max
}
