// Modification times: whole seconds in a header, a decimal fraction in a PAX record.

import type { Timestamp } from './entry.js'

const NANOSECONDS = 1_000_000_000
const PAX_TIME = /^(-?)([0-9]+)(?:\.([0-9]*))?$/

/**
 * Reads a PAX time such as `1350244992.023960108` or `-1.5`.
 *
 * Digits beyond the nanosecond are cut off. Gives undefined for anything malformed; `seconds` may be
 * beyond the exact integers, see {@link clampTimestamp}.
 */
export function parsePaxTime(text: string): Timestamp | undefined {
  const match = PAX_TIME.exec(text)
  if (match === null) return undefined
  const [, sign, whole, fraction = ''] = match
  const seconds = Number(whole)
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'))
  if (sign === '') return { seconds, nanoseconds }
  // The fraction counts away from zero, a timestamp's nanoseconds count forward: -1.5 is -2 s + 0.5 s.
  if (nanoseconds === 0) return { seconds: 0 - seconds, nanoseconds }
  return { seconds: -seconds - 1, nanoseconds: NANOSECONDS - nanoseconds }
}

/** Gives the nearest time whose seconds are an exact integer. */
export function clampTimestamp(time: Timestamp): Timestamp {
  if (Number.isSafeInteger(time.seconds)) return time
  return time.seconds < 0
    ? { seconds: Number.MIN_SAFE_INTEGER, nanoseconds: 0 }
    : { seconds: Number.MAX_SAFE_INTEGER, nanoseconds: NANOSECONDS - 1 }
}
