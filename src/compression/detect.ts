// Tells what a blob is by its first bytes, never by its name or media type (checklist, D-040).

/** What the bytes are packed as; `none` is everything that is not one of the others. */
export type Compression = 'gzip' | 'zstd' | 'bzip2' | 'xz' | 'zip' | 'none'

/** The forms that can be read. */
export type DecompressibleKind = 'gzip' | 'zstd'

/** Bytes that {@link detectCompression} can make use of: one tar header. */
export const DETECTION_LENGTH = 512

/**
 * Tells the compression of a blob from its first {@link DETECTION_LENGTH} bytes, or from all of a shorter one.
 *
 * A tar member may be called `BZh9`; so a block that is a tar header, checksum included, is `none` whatever
 * it begins with.
 */
export function detectCompression(head: Uint8Array): Compression {
  const found = MAGICS.find(({ magic }) => startsWith(head, magic))?.compression
  if (found === undefined) return isZstdSkippable(head) ? 'zstd' : 'none'
  return isTarHeader(head) ? 'none' : found
}

const MAGICS: readonly { compression: Compression; magic: readonly number[] }[] = [
  { compression: 'gzip', magic: [0x1f, 0x8b, 0x08] },
  { compression: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd] },
  { compression: 'bzip2', magic: [0x42, 0x5a, 0x68] },
  { compression: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { compression: 'zip', magic: [0x50, 0x4b, 0x03, 0x04] },
]

function startsWith(head: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, index) => head[index] === byte)
}

// A zstd stream may open with a skippable frame, 0x184D2A50 to 0x184D2A5F little-endian (RFC 8878 3.1.2).
function isZstdSkippable(head: Uint8Array): boolean {
  return (
    ((head[0] ?? 0) & 0xf0) === 0x50 &&
    head[1] === 0x2a &&
    head[2] === 0x4d &&
    head[3] === 0x18 &&
    !isTarHeader(head)
  )
}

// The checksum is the sum of all bytes of the header with its own field (148..155) taken as spaces.
function isTarHeader(head: Uint8Array): boolean {
  if (head.length < DETECTION_LENGTH) return false
  let sum = 8 * 0x20
  for (let index = 0; index < DETECTION_LENGTH; index++) {
    if (index < 148 || index >= 156) sum += head[index] ?? 0
  }
  const field = Buffer.from(head.subarray(148, 156)).toString('latin1')
  const digits = /^[ \0]*([0-7]+)[ \0]*$/.exec(field)?.[1]
  return digits !== undefined && parseInt(digits, 8) === sum
}
