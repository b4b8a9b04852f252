// The beginning of what packed bytes hold, for chunks of lazy formats: of a stretch that begins with a gzip member or a zstd
// frame only so much is unpacked as is wanted, and what follows that is not looked at. The caller compares a digest.

import { constants, gunzipSync } from 'node:zlib'

import { OcimountError } from '../errors.js'
import { decompress } from './decompress.js'
import type { DecompressibleKind } from './detect.js'
import { unzstdFrame } from './unzstd.js'

/** Below this, making a stream costs more than unpacking. */
const SMALL = 128 * 1024
/** What may lie behind the wanted bytes for the short way: padding and headers of a tar. */
const SLACK = 64 * 1024

/**
 * Gives at least the first `length` bytes; of gzip also from packed bytes that are still coming.
 *
 * @param what names the bytes in messages
 * @throws OcimountError `LAYER_CORRUPT` for bytes that are damaged or too few, `COMPRESSION_UNSUPPORTED`
 */
export async function unpackStart(
  kind: DecompressibleKind,
  packed: Buffer | AsyncIterable<Buffer>,
  length: number,
  what: string,
): Promise<Buffer> {
  if (packed instanceof Uint8Array) {
    if (kind === 'zstd') return unzstdFrame(packed, length, what)
    const short = length <= SMALL ? gunzipShort(packed, length) : undefined
    if (short !== undefined) return short
  }
  const target = Buffer.allocUnsafe(length)
  let done = 0
  const input = packed instanceof Uint8Array ? once(packed) : packed
  for await (const chunk of decompress(kind, input, { what })) {
    done += chunk.copy(target, done)
    if (done === length) return target
  }
  if (done === length) return target
  throw new OcimountError('LAYER_CORRUPT', `Cannot decompress ${what}: it is too short`)
}

/** Gives the most bytes that so many can be packed into: what has to be fetched where nobody says where they end. */
export function packedBound(length: number): number {
  // Both formats store what cannot be made smaller, with a few bytes for each 64 KiB at most.
  return length + Math.ceil(length / 64) + 4096
}

/** Gives undefined for whatever is not the usual case; the long way then says what is wrong. */
function gunzipShort(packed: Buffer, length: number): Buffer | undefined {
  try {
    const bytes = gunzipSync(packed, {
      // A stretch may end within the member that follows the wanted one.
      finishFlush: constants.Z_SYNC_FLUSH,
      maxOutputLength: length + SLACK,
    })
    return bytes.length < length ? undefined : bytes
  } catch {
    return undefined
  }
}

// eslint-disable-next-line @typescript-eslint/require-await -- what is at hand, for who takes what comes
async function* once(bytes: Buffer): AsyncGenerator<Buffer, void, undefined> {
  yield bytes
}
