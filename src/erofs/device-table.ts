// What an image says of its devices, and the checksum of the superblock, which counts them.

import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { crc32c } from './crc32c.js'
import {
  BLOCK_SIZE,
  CHECKSUM_COVERAGE,
  DEVICE_SLOT_SIZE,
  DEVICE_TAG_SIZE,
  MAX_DEVICE_BLOCKS,
  SB,
  SUPERBLOCK_OFFSET,
} from './format.js'
import type { ErofsDevice } from './node.js'

/** The device table's length is a 16-bit number. */
const MAX_DEVICES = 0xffff

/**
 * Checks what a device table is to hold.
 *
 * @throws `INTERNAL` for a tag or size that is none, `LIMIT_EXCEEDED` for more or larger devices than the format can have.
 */
export function checkDevices(devices: readonly ErofsDevice[]): void {
  if (devices.length > MAX_DEVICES) {
    throw new OcimountError(
      'LIMIT_EXCEEDED',
      `Cannot write an EROFS image over ${devices.length} devices: it can have ${MAX_DEVICES}`,
    )
  }
  for (const { tag, size } of devices) {
    // The kernel refuses an empty tag; printable ASCII is what it may show in its log.
    if (!/^[!-~]+$/.test(tag) || tag.length > DEVICE_TAG_SIZE || !isSize(size)) {
      throw new OcimountError(
        'INTERNAL',
        `Cannot write device ${escapeText(tag)} to an EROFS image: its tag or size is not one`,
      )
    }
    if (blocksOf(size) > MAX_DEVICE_BLOCKS) {
      throw new OcimountError(
        'LIMIT_EXCEEDED',
        `Cannot write device ${tag} of ${size} bytes to an EROFS image: it is larger than 2 TiB`,
        { details: { size, limit: MAX_DEVICE_BLOCKS * BLOCK_SIZE } },
      )
    }
  }
}

function isSize(size: number): boolean {
  return Number.isSafeInteger(size) && size >= 0
}

function blocksOf(size: number): number {
  return Math.ceil(size / BLOCK_SIZE)
}

/** Writes the table of devices that {@link checkDevices} took. */
export function writeDeviceTable(
  image: Buffer,
  offset: number,
  devices: readonly ErofsDevice[],
): void {
  for (const [index, { tag, size }] of devices.entries()) {
    const slot = offset + index * DEVICE_SLOT_SIZE
    image.write(tag, slot, 'latin1')
    image.writeUInt32LE(blocksOf(size), slot + DEVICE_TAG_SIZE)
  }
}

/** Writes the checksum of a superblock that is complete. */
export function writeChecksum(image: Buffer): void {
  const covered = image.subarray(SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + CHECKSUM_COVERAGE)
  covered.writeUInt32LE(0, SB.checksum)
  covered.writeUInt32LE(crc32c(0xffffffff, covered), SB.checksum)
}
