// What may follow the last gzip member or zstd frame: zeros, as tape writers leave them (checklist B-131).

import { OcimountError } from '../errors.js'

/**
 * Checks that all bytes are zero.
 *
 * @throws OcimountError `LAYER_CORRUPT`
 */
export function expectPadding(rest: Uint8Array, what: string, unit: string): void {
  const words = rest.length - (rest.length % ZEROS.length)
  for (let start = 0; start < words; start += ZEROS.length) {
    if (Buffer.compare(rest.subarray(start, start + ZEROS.length), ZEROS) !== 0) refuse(what, unit)
  }
  if (rest.subarray(words).some((byte) => byte !== 0)) refuse(what, unit)
}

const ZEROS = Buffer.alloc(4096)

function refuse(what: string, unit: string): never {
  throw new OcimountError(
    'LAYER_CORRUPT',
    `Cannot decompress ${what}: other bytes than zeros follow the last ${unit}`,
  )
}
