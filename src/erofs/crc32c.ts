/**
 * Computes the CRC-32C of the bytes from a start value, without the final inversion, as the kernel's
 * `crc32c()` does.
 *
 * One table, byte by byte: it sees one block per image.
 */
export function crc32c(start: number, bytes: Uint8Array): number {
  let crc = start >>> 0
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8)
  return crc >>> 0
}

/** The Castagnoli polynomial, bits reversed. */
const POLYNOMIAL = 0x82f63b78

const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? POLYNOMIAL : 0)
  return value >>> 0
})
