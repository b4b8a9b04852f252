// The superblock and the device table, read as strictly as they are written: what the writer never makes is
// taken for damage, not for another dialect.

import { byteString } from '../byte-string.js'
import { corrupt, checkInside, readInt64 } from './corrupt.js'
import { crc32c } from './crc32c.js'
import {
  BLOCK_BITS,
  BLOCK_SIZE,
  CHECKSUM_COVERAGE,
  COMPAT_SB_CHKSUM,
  DEVICE_SLOT_SIZE,
  DEVICE_TAG_SIZE,
  INCOMPAT_CHUNKED_FILE,
  INCOMPAT_DEVICE_TABLE,
  SB,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_OFFSET,
} from './format.js'
import type { ErofsDevice } from './node.js'

export interface Superblock {
  /** Bytes of the filesystem; the buffer may be longer. */
  readonly size: number
  readonly rootNid: number
  readonly inodeCount: number
  readonly sharedXattrsOffset: number
  /** Sizes are those of the device table: rounded up to blocks. */
  readonly devices: readonly ErofsDevice[]
}

/**
 * Reads and verifies the superblock of an image.
 *
 * @throws `CACHE_CORRUPT`
 */
export function readSuperblock(bytes: Buffer): Superblock {
  if (bytes.length < SUPERBLOCK_OFFSET + CHECKSUM_COVERAGE) throw corrupt('it is too short')
  const superblock = bytes.subarray(SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + CHECKSUM_COVERAGE)
  if (superblock.readUInt32LE(SB.magic) !== SUPERBLOCK_MAGIC) throw corrupt('it has no superblock')
  checkChecksum(superblock)
  checkFeatures(superblock)
  const size = superblock.readUInt32LE(SB.blocks) * BLOCK_SIZE
  if (size > bytes.length) throw corrupt('it is cut short')
  return {
    size,
    rootNid: superblock.readUInt16LE(SB.rootNid),
    inodeCount: readInt64(superblock, SB.inos),
    sharedXattrsOffset: superblock.readUInt32LE(SB.xattrBlkaddr) * BLOCK_SIZE,
    devices: readDevices(bytes, superblock, size),
  }
}

function checkChecksum(superblock: Buffer): void {
  const covered = Buffer.from(superblock)
  covered.writeUInt32LE(0, SB.checksum)
  if (crc32c(0xffffffff, covered) !== superblock.readUInt32LE(SB.checksum)) {
    throw corrupt('the checksum of its superblock is wrong')
  }
}

function checkFeatures(superblock: Buffer): void {
  const deviceFeature = superblock.readUInt16LE(SB.extraDevices) === 0 ? 0 : INCOMPAT_DEVICE_TABLE
  const isOurs =
    superblock.readUInt32LE(SB.featureCompat) === COMPAT_SB_CHKSUM &&
    superblock.readUInt32LE(SB.featureIncompat) === (INCOMPAT_CHUNKED_FILE | deviceFeature) &&
    superblock[SB.blkszbits] === BLOCK_BITS &&
    superblock[SB.extslots] === 0 &&
    superblock[SB.dirblkbits] === 0 &&
    superblock[SB.xattrPrefixCount] === 0 &&
    superblock.readUInt32LE(SB.metaBlkaddr) === 0
  if (!isOurs) throw corrupt('its features or block size are not those that are written')
}

function readDevices(bytes: Buffer, superblock: Buffer, size: number): ErofsDevice[] {
  const count = superblock.readUInt16LE(SB.extraDevices)
  const start = superblock.readUInt16LE(SB.devtSlotoff) * DEVICE_SLOT_SIZE
  checkInside(start, count * DEVICE_SLOT_SIZE, size, 'the device table')
  return Array.from({ length: count }, (_, index) => {
    const slot = start + index * DEVICE_SLOT_SIZE
    const tag = byteString(bytes.subarray(slot, slot + DEVICE_TAG_SIZE)).replace(/\0+$/, '')
    return { tag, size: bytes.readUInt32LE(slot + DEVICE_TAG_SIZE) * BLOCK_SIZE }
  })
}
