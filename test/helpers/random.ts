// Reproducible randomness for property tests: the seed is printed, and OCIMOUNT_TEST_SEED sets it.

import type { Test } from 'tap'

/** A small generator (mulberry32): not for secrets, the same everywhere. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** Gives an integer from 0 to below `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit)
  }

  /** Gives one of the values. */
  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }
}

/** Gives a generator and prints the seed with which a failure can be repeated. */
export function seededRandom(t: Test, fallback = 1): Random {
  const seed = Number(process.env['OCIMOUNT_TEST_SEED'] ?? fallback)
  t.comment(`seed ${seed}; set OCIMOUNT_TEST_SEED to repeat or to vary`)
  return new Random(seed)
}
