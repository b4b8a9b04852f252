import { OcimountError } from '../errors.js'

/** Makes the error for bytes that are not an image that the writer made. */
export function corrupt(why: string): OcimountError {
  return new OcimountError('CACHE_CORRUPT', `Cannot read EROFS image: ${why}`)
}

/** Checks that a stretch is inside the first `size` bytes. Takes any numbers, NaN too. */
export function checkInside(offset: number, length: number, size: number, what: string): void {
  if (offset >= 0 && length >= 0 && offset + length <= size) return
  throw corrupt(`${what} at ${offset} is outside the image`)
}

/**
 * Reads a signed 64-bit number.
 *
 * @throws `CACHE_CORRUPT` when JavaScript cannot hold it exactly.
 */
export function readInt64(bytes: Buffer, offset: number): number {
  const value = bytes.readInt32LE(offset + 4) * 2 ** 32 + bytes.readUInt32LE(offset)
  if (Number.isSafeInteger(value)) return value
  throw corrupt(`the number at ${offset} is too large`)
}
