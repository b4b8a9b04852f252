// Opens, indexes and mounts one image, and has it served: what the serving process does, or the command itself with -f.
//
//   opening ──▶ indexing ──▶ mounted ──(live-mount.ts)──▶ gone ──▶ everything released
//      └───────────┴── a failure or the signal undoes what was done and is thrown

import { Cache } from '../cache/cache.js'
import { isOcimountError, messageOf, OcimountError } from '../errors.js'
import { configureLogger, log } from '../logger.js'
import { mountRootfs } from '../mount/mount.js'
import { MountState } from '../mount/state.js'
import { parsePlatform } from '../reference/platform.js'
import { buildRootfs, type Rootfs } from '../rootfs/build-rootfs.js'
import type { Image } from '../source/image.js'
import { openImage } from '../source/open-image.js'
import { serveUntilGone, type StayHooks } from './live-mount.js'
import type { MountRequest } from './mount-request.js'
import { imageRecord, summariseMount, type MountSummary } from './mount-summary.js'
import type { ProgressUpdate } from './progress.js'
import { withSpareCache, type ChosenCache } from './spare-cache.js'

export interface ServeHooks extends StayHooks {
  readonly onProgress?: ((update: ProgressUpdate) => void) | undefined
  /** Where log lines go: the state's log file, or standard error in the foreground. */
  readonly logsToFile: boolean
}

/** A mount that is usable. */
export interface ServedMount {
  readonly summary: MountSummary
  /** Resolves when the mount is gone, or left to itself, and everything is released. */
  readonly finished: Promise<void>
}

/**
 * Mounts the image that a request names.
 *
 * @throws OcimountError of every room; nothing is left behind
 */
export async function serveMount(request: MountRequest, hooks: ServeHooks): Promise<ServedMount> {
  const undo: (() => Promise<unknown>)[] = []
  const release = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) {
      await step().catch((error: unknown) => {
        log.warn({ cause: messageOf(error) }, 'Cannot release everything')
      })
    }
  }
  try {
    return await start(request, hooks, { undo, release })
  } catch (error) {
    await release()
    throw hooks.signal.aborted && !isOcimountError(error) ? interrupted(error) : error
  }
}

interface Cleanup {
  readonly undo: (() => Promise<unknown>)[]
  readonly release: () => Promise<void>
}

async function start(
  request: MountRequest,
  hooks: ServeHooks,
  cleanup: Cleanup,
): Promise<ServedMount> {
  const { signal } = hooks
  const begin = performance.now()
  const state = await MountState.create({
    mountpoint: request.mountpoint,
    image: { reference: request.image },
    options: {
      driver: request.driver,
      verify: request.verify,
      suid: request.suid,
      dev: request.dev,
    },
    isWritable: request.writable,
    direct: request.direct,
  })
  let isLeft = false
  cleanup.undo.push(async () => {
    if (!isLeft) await state.remove()
  })
  configureLogger(
    hooks.logsToFile
      ? { level: request.logLevel, file: state.logPath }
      : { level: request.logLevel },
  )

  const built = await withSpareCache(
    () => Cache.open({ dir: request.cacheDir, maxDataBytes: request.maxDataBytes }),
    state.directory,
    (chosen) => openAndBuild(request, hooks, chosen),
  )
  const { cache, image, rootfs, opened } = built
  cleanup.undo.push(
    () => image.close(),
    () => rootfs.close(),
  )
  const indexed = performance.now()
  signal.throwIfAborted()

  const mount = await oneAtATime(request.mountpoint, { cache, signal }, () =>
    mountRootfs(rootfs, request.mountpoint, {
      driver: request.driver,
      writable: request.writableDir ?? request.writable,
      ...(request.allowOther ? { allowOther: true } : {}),
      suid: request.suid,
      dev: request.dev,
      noexec: request.noexec,
      ...(request.direct ? { direct: cache } : {}),
      fsName: fsName(request.image),
      workDirectory: state.directory,
    }),
  )
  let isGone = false
  void mount.finished.then(() => (isGone = true))
  cleanup.undo.push(async () => {
    if (!isGone && !isLeft) await mount.unmount({ lazy: true })
  })
  const mounted = performance.now()

  const summary = summariseMount(
    {
      ...{ id: state.id, request, image, rootfs, mount, warnings: built.warnings },
      leavesDirect: hooks.leavesDirect,
    },
    { begin, opened, indexed, mounted },
  )
  await state.update({
    state: 'ready',
    mountpoint: mount.mountpoint,
    device: mount.device,
    image: imageRecord(request, image),
    layers: rootfs.info.layerIds,
    rootfsKey: rootfs.key,
    driver: mount.driver,
    verification: summary.verification,
  })
  const finished = serveUntilGone({ state, rootfs, mount, summary }, hooks).then(async (end) => {
    isLeft = end === 'left'
    await cleanup.release()
  })
  return { summary, finished }
}

interface Built extends ChosenCache {
  readonly image: Image
  readonly rootfs: Rootfs
  /** When the image was open. */
  readonly opened: number
}

/** Leaves nothing open when it fails. */
async function openAndBuild(
  request: MountRequest,
  { signal, onProgress }: ServeHooks,
  chosen: ChosenCache,
): Promise<Built> {
  const { cache } = chosen
  const image = await openImage(request.image, {
    cache,
    ref: request.ref,
    platform: request.platform === undefined ? undefined : parsePlatform(request.platform),
    signal,
    onProgress:
      onProgress &&
      ((progress) => {
        onProgress({ what: 'reading the archive', ...progress })
      }),
  })
  const opened = performance.now()
  try {
    const options = {
      ...{ cache, onProgress, signal },
      verify: request.verify,
      inPlace: request.direct,
    }
    return { ...chosen, image, opened, rootfs: await buildRootfs(image, options) }
  } catch (error) {
    await image.close()
    throw error
  }
}

/** Lets one mount at a time be made at a place: the kernel itself would stack the second on the first. */
async function oneAtATime<T>(
  mountpoint: string,
  { cache, signal }: { readonly cache: Cache; readonly signal: AbortSignal },
  work: () => Promise<T>,
): Promise<T> {
  const step = { isStarted: false }
  const start = (): Promise<T> => {
    step.isStarted = true
    return work()
  }
  try {
    return await cache.withLock(`mountpoint-${mountpoint}`, start, { signal })
  } catch (error) {
    if (step.isStarted || !isOcimountError(error, 'STORAGE_FULL', 'STORAGE_FAILED')) throw error
    // A full or unwritable cache must not keep an image from being mounted.
    log.warn({ cause: messageOf(error) }, 'Mounting without a lock on the mount point')
    return work()
  }
}

// Shown by mount(8) as the source; commas would end the option.
function fsName(image: string): string {
  return image.replace(/[^\w./:@+-]/g, '_').slice(0, 200)
}

function interrupted(cause: unknown): OcimountError {
  return new OcimountError('INTERRUPTED', 'Cannot mount: interrupted', { cause })
}
