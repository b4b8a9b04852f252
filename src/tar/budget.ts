// What an archive may still make the reader keep.

import { tarLimitExceeded, type TarPlace } from './corrupt.js'
import type { TarEntry } from './entry.js'
import {
  DEFAULT_MAX_ENTRIES,
  DEFAULT_MAX_METADATA,
  SEGMENT_COST,
  type TarLimits,
} from './limits.js'

/** Counts what one archive hands out against its limits; every method throws `LIMIT_EXCEEDED`. */
export class TarBudget {
  readonly #maxEntries: number
  readonly #maxMetadata: number
  #entries = 0
  #metadata = 0

  constructor({ maxEntries, maxMetadata }: TarLimits) {
    this.#maxEntries = maxEntries ?? DEFAULT_MAX_ENTRIES
    this.#maxMetadata = maxMetadata ?? DEFAULT_MAX_METADATA
  }

  /** Counts an entry with everything it holds. */
  spendEntry(entry: TarEntry): void {
    let bytes = entry.path.length + entry.linkTarget.length
    if (entry.xattrs !== undefined) {
      for (const [name, value] of entry.xattrs) bytes += name.length + value.length
    }
    if (entry.sparse !== undefined) bytes += entry.sparse.length * SEGMENT_COST
    this.#spend(entry, bytes)
  }

  /** Counts a note as an entry, for it is kept as well. */
  spendNote(place: TarPlace, detail: string): void {
    this.#spend(place, (place.path?.length ?? 0) + detail.length)
  }

  #spend(place: TarPlace, bytes: number): void {
    this.#entries++
    this.#metadata += bytes
    if (this.#entries > this.#maxEntries) {
      throw tarLimitExceeded(place, `the archive has more than ${this.#maxEntries} entries`)
    }
    if (this.#metadata > this.#maxMetadata) {
      throw tarLimitExceeded(
        place,
        `names, xattrs and sparse maps take more than ${this.#maxMetadata} bytes`,
      )
    }
  }
}
