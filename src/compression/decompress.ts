// The one way in: compressed bytes to plain ones, strictly. A layer's digest covers every byte of the blob, so a byte
// that one reader sees and another skips is a way to smuggle content past a scanner (checklist S-24); here
// every byte is a part of a member or frame, or zero padding after the last one, or the blob is refused.

import { OcimountError } from '../errors.js'
import type { DecompressibleKind } from './detect.js'
import { gunzip } from './gunzip.js'
import { unzstd } from './unzstd.js'

/**
 * Default of {@link DecompressOptions.maxOutput}: 1 TiB, more than any layer in use.
 *
 * A ratio alone refuses nothing: zeros deflate 1032 to 1, and a layer may well hold an empty disk image.
 */
export const MAX_UNCOMPRESSED = 2 ** 40

export interface DecompressOptions {
  /** Names the bytes in error messages, such as `layer sha256:…`. */
  readonly what: string
  /** Bytes of output after which the input is taken for a bomb (checklist B-140). */
  readonly maxOutput?: number
}

/**
 * Decompresses a stream, chunk by chunk of at most 512 KiB, with never more than a few chunks in memory.
 *
 * All gzip members or zstd frames are decoded and their checksums compared; zstd's skippable frames are passed over. Zeros may
 * follow the last one. Nested compression is not undone (checklist S-17). Input chunks must not be changed
 * afterwards; output chunks belong to the caller. Leaving the loop early releases everything, the input too.
 *
 * @throws OcimountError `LAYER_CORRUPT` for bytes that are damaged, cut, or followed by something else,
 *   `COMPRESSION_UNSUPPORTED` for zstd with a dictionary or a window above 128 MiB, `LIMIT_EXCEEDED` beyond
 *   `maxOutput`; whatever the input throws is passed on as it is.
 */
export async function* decompress(
  kind: DecompressibleKind,
  input: AsyncIterable<Buffer>,
  { what, maxOutput = MAX_UNCOMPRESSED }: DecompressOptions,
): AsyncGenerator<Buffer, void, undefined> {
  let total = 0
  for await (const chunk of kind === 'gzip' ? gunzip(input, what) : unzstd(input, what)) {
    total += chunk.length
    if (total > maxOutput) {
      throw new OcimountError(
        'LIMIT_EXCEEDED',
        `Cannot decompress ${what}: it is larger than the limit of ${maxOutput} bytes`,
      )
    }
    yield chunk
  }
}
