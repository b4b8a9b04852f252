// Third pass of the writer: bytes. The image is a function of the tree and the device table alone; neither
// the time nor the order in which names were inserted leaves a trace.

import { createHash } from 'node:crypto'
import { checkDevices, writeChecksum, writeDeviceTable } from './device-table.js'
import {
  BLOCK_BITS,
  BLOCK_SIZE,
  COMPAT_SB_CHKSUM,
  DEVICE_SLOT_SIZE,
  INCOMPAT_CHUNKED_FILE,
  INCOMPAT_DEVICE_TABLE,
  SB,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_OFFSET,
} from './format.js'
import { writeDirectory, writeInode, writeInt64 } from './inode-writer.js'
import type { ErofsDevice, ErofsNode } from './node.js'
import { placeTree, type Placement } from './placement.js'
import { walkTree, type PlannedTree } from './tree-walk.js'
import { XattrTable } from './xattr-table.js'

export interface ErofsOutput {
  /** The whole filesystem; a multiple of 4096 bytes. */
  readonly image: Buffer
  readonly rootNid: number
  readonly inodeCount: number
}

/**
 * Serialises a tree as an EROFS filesystem that holds metadata only; content stays on the devices, which a
 * mount has to be given in the same order.
 *
 * The kernel reads whole blocks: what stands for a device has to be padded with zeros to a multiple of 512
 * bytes, or the last piece of it is EIO. The same tree and devices give the same bytes.
 *
 * @throws `INTERNAL` when the tree breaks the rules of {@link ErofsNode}, holds an extended attribute that
 *   `xattrProblem` rejects or extents that `planChunks` cannot place; `LIMIT_EXCEEDED` when a device, the
 *   image or the attributes of one inode are too large for the format.
 */
export function writeErofs(root: ErofsNode, devices: readonly ErofsDevice[]): ErofsOutput {
  checkDevices(devices)
  const xattrs = new XattrTable()
  const tree = walkTree(root, { devices, xattrs })
  xattrs.layOut()
  const placement = placeTree(tree, {
    deviceCount: devices.length,
    sharedXattrsSize: xattrs.sharedSize,
  })
  const image = Buffer.alloc(placement.imageSize)
  const bytes = { bytes: image, view: viewOf(image) }
  let number = 0
  for (const inode of tree.inodes) writeInode(bytes, inode, ++number)
  for (const directory of tree.directories) writeDirectory(bytes, directory)
  xattrs.writeShared(image, placement.sharedXattrsOffset)
  writeDeviceTable(image, placement.deviceTableOffset, devices)
  writeSuperblock(image, { tree, placement, deviceCount: devices.length })
  return { image, rootNid: tree.root.nid, inodeCount: tree.inodes.length }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

function writeSuperblock(
  image: Buffer,
  {
    tree,
    placement,
    deviceCount,
  }: {
    readonly tree: PlannedTree
    readonly placement: Placement
    readonly deviceCount: number
  },
): void {
  const superblock = image.subarray(SUPERBLOCK_OFFSET)
  superblock.writeUInt32LE(SUPERBLOCK_MAGIC, SB.magic)
  superblock.writeUInt32LE(COMPAT_SB_CHKSUM, SB.featureCompat)
  superblock[SB.blkszbits] = BLOCK_BITS
  superblock.writeUInt16LE(tree.root.nid, SB.rootNid)
  writeInt64(viewOf(superblock), tree.inodes.length, SB.inos)
  superblock.writeUInt32LE(image.length / BLOCK_SIZE, SB.blocks)
  superblock.writeUInt32LE(placement.sharedXattrsOffset / BLOCK_SIZE, SB.xattrBlkaddr)
  const deviceFeature = deviceCount === 0 ? 0 : INCOMPAT_DEVICE_TABLE
  superblock.writeUInt32LE(INCOMPAT_CHUNKED_FILE | deviceFeature, SB.featureIncompat)
  superblock.writeUInt16LE(deviceCount, SB.extraDevices)
  superblock.writeUInt16LE(placement.deviceTableOffset / DEVICE_SLOT_SIZE, SB.devtSlotoff)
  writeUuid(image)
  // Last of all: it covers all of the above.
  writeChecksum(image)
}

/**
 * Derives the filesystem's UUID (RFC 9562 version 8) from its content. An overlay stacked on the image finds
 * the origin of a copied-up file again only where the lower filesystem has one.
 */
function writeUuid(image: Buffer): void {
  const uuid = createHash('sha256').update(image).digest().subarray(0, 16)
  uuid[6] = ((uuid[6] ?? 0) & 0x0f) | 0x80
  uuid[8] = ((uuid[8] ?? 0) & 0x3f) | 0x80
  uuid.copy(image, SUPERBLOCK_OFFSET + SB.uuid)
}
