// Gives back what indexing left behind. A server that only waits for misses allocates nothing, so that neither the engine nor
// the C allocator would ever tidy up by itself: the first mount of 300,000 entries would keep 100 MB for as long as it
// lives.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { loadNative } from '../native.js'

/** What a collection frees outside of the heap is freed by other threads, some time after it. */
const SWEEPING_MS = 1000

/**
 * Collects garbage and, a second later, returns its pages to the system. Takes some tens of milliseconds of the calling thread
 * each time, and does not keep the process alive.
 */
export function releaseMemory(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  setTimeout(() => {
    collect()
    loadNative()?.trimMemory()
  }, SWEEPING_MS).unref()
}
