// The only door to lru-cache: a bounded memory of what was used last.

import { LRUCache } from 'lru-cache'

/** Bounded by a number of entries, or by bytes as `sizeOf` tells them. */
export type MemoryLimit<V> =
  | { readonly maxEntries: number }
  | { readonly maxBytes: number; readonly sizeOf: (value: V) => number }

/** Keeps the values used last, and forgets the others. */
export class MemoryCache<K extends string | number | bigint | object, V extends object> {
  readonly #entries: LRUCache<K, V>

  constructor(limit: MemoryLimit<V>) {
    this.#entries =
      'maxEntries' in limit
        ? new LRUCache<K, V>({ max: limit.maxEntries })
        : new LRUCache<K, V>({
            maxSize: limit.maxBytes,
            // lru-cache refuses a size of 0, and an entry that holds nothing still takes room.
            sizeCalculation: (value) => Math.max(1, limit.sizeOf(value)),
          })
  }

  /** Number of entries. */
  get size(): number {
    return this.#entries.size
  }

  /** Sum of the sizes; 0 when the limit is a number of entries. */
  get bytes(): number {
    return this.#entries.calculatedSize
  }

  /** Gives a value and counts it as just used. */
  get(key: K): V | undefined {
    return this.#entries.get(key)
  }

  /** Keeps a value; one that is larger than the whole cache is not kept. */
  set(key: K, value: V): void {
    this.#entries.set(key, value)
  }

  delete(key: K): void {
    this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
  }
}
