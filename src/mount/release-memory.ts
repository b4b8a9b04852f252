// Gives back what indexing left behind. A server that only waits for misses allocates nothing, so that neither the engine nor
// the C allocator would ever tidy up by itself: the first mount of 300,000 entries would keep 100 MB for as long as it
// lives.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { loadNative } from '../native.js'

/** What a collection frees outside of the heap is freed by other threads, some time after it. */
const SWEEPING_MS = 1000
/** What a finished task still holds at the first collection is garbage at the next. */
const ROUNDS = 3

/**
 * Collects garbage, and returns its pages to the system a second later; then the same again. Takes some tens of milliseconds
 * of the calling thread each time, and does not keep the process alive.
 */
export function releaseMemory(): void {
  setFlagsFromString('--expose-gc')
  collectAndTrim(runInNewContext('gc') as () => void, ROUNDS)
}

function collectAndTrim(collect: () => void, rounds: number): void {
  collect()
  setTimeout(() => {
    loadNative()?.trimMemory()
    if (rounds > 1) collectAndTrim(collect, rounds - 1)
  }, SWEEPING_MS).unref()
}
