// How whatever serves a mount starts: from the image that a request names to a tree that can be mounted, with what is undone when
// a step fails.

import { Cache } from '../cache/cache.js'
import { isOcimountError, messageOf, OcimountError } from '../errors.js'
import { log } from '../logger.js'
import type { ImageRequest } from './mount-request.js'
import { openRootfs, type OpenedRootfs } from './open-rootfs.js'
import type { ProgressUpdate } from './progress.js'
import { withSpareCache, type ChosenCache } from './spare-cache.js'

export interface ServeHooks {
  readonly onProgress?: ((update: ProgressUpdate) => void) | undefined
  /** Ends the start, or unmounts when the mount is up already. */
  readonly signal: AbortSignal
}

/** An image whose tree can be mounted, and when each step was done, by `performance.now()`. */
export interface RootfsToServe extends ChosenCache, OpenedRootfs {
  readonly begin: number
  readonly indexed: number
}

/** What has to be undone, last first, when a start fails or a mount has ended. */
export class Cleanup {
  readonly #steps: (() => Promise<unknown>)[] = []
  #running: Promise<void> = Promise.resolve()

  add(step: () => Promise<unknown>): void {
    this.#steps.push(step)
  }

  /** Resolves when everything is undone, whoever began with it; never rejects. */
  run(): Promise<void> {
    this.#running = this.#running.then(() => this.#undo())
    return this.#running
  }

  async #undo(): Promise<void> {
    for (const step of this.#steps.splice(0).reverse()) {
      await step().catch((error: unknown) => {
        log.warn({ cause: messageOf(error) }, 'Cannot release everything')
      })
    }
  }
}

/**
 * Opens and indexes an image, on a full disk through a cache in `spareDirectory`, if there is one. What it opens is closed by the clean-up.
 *
 * @throws OcimountError of the rooms below
 */
export async function openToServe(
  request: ImageRequest & { readonly direct?: boolean },
  around: {
    readonly hooks: ServeHooks
    readonly cleanup: Cleanup
    readonly spareDirectory: string | undefined
  },
): Promise<RootfsToServe> {
  const { hooks, cleanup, spareDirectory } = around
  const begin = performance.now()
  const { cacheDir: dir, maxDataBytes } = request
  const openCache = (): Promise<Cache> => Cache.open({ dir, maxDataBytes })
  const open = async (chosen: ChosenCache): Promise<ChosenCache & OpenedRootfs> => ({
    ...chosen,
    ...(await openRootfs(request, {
      ...{ cache: chosen.cache, signal: hooks.signal, onProgress: hooks.onProgress },
      verify: request.verify,
      inPlace: request.direct,
    })),
  })
  const opened =
    spareDirectory === undefined
      ? await open({ cache: await openCache(), warnings: [] })
      : await withSpareCache(openCache, () => Promise.resolve(spareDirectory), open)
  cleanup.add(() => opened.image.close())
  cleanup.add(() => opened.rootfs.close())
  hooks.signal.throwIfAborted()
  return { ...opened, begin, indexed: performance.now() }
}

/** Runs a start; when it fails everything is undone, and what was interrupted says so. */
export async function undoingOnFailure<T>(
  signal: AbortSignal,
  start: (cleanup: Cleanup) => Promise<T>,
): Promise<T> {
  const cleanup = new Cleanup()
  try {
    return await start(cleanup)
  } catch (error) {
    await cleanup.run()
    if (!signal.aborted || isOcimountError(error)) throw error
    throw new OcimountError('INTERRUPTED', 'Cannot mount: interrupted', { cause: error })
  }
}

/** Lets one mount at a time be made at a place: the kernel itself would stack the second on the first. */
export async function oneAtATime<T>(
  mountpoint: string,
  { cache, signal }: { readonly cache: Cache; readonly signal?: AbortSignal | undefined },
  work: () => Promise<T>,
): Promise<T> {
  const what = `mountpoint-${mountpoint}`
  return withLockIfPossible(what, { cache, signal }, work)
}

/** Runs `work` under a lock of the cache; a full or unwritable cache must not keep an image from being mounted. */
export async function withLockIfPossible<T>(
  name: string,
  { cache, signal }: { readonly cache: Cache; readonly signal?: AbortSignal | undefined },
  work: () => Promise<T>,
): Promise<T> {
  const step = { isStarted: false }
  const start = (): Promise<T> => {
    step.isStarted = true
    return work()
  }
  try {
    return await cache.withLock(name, start, { signal })
  } catch (error) {
    if (step.isStarted || !isOcimountError(error, 'STORAGE_FULL', 'STORAGE_FAILED')) throw error
    log.warn({ cause: messageOf(error) }, 'Mounting without a lock')
    return work()
  }
}

/** Shown by mount(8) as the source; commas would end the option. */
export function fsNameOf(image: string): string {
  return image.replace(/[^\w./:@+-]/g, '_').slice(0, 200)
}
