// Opens, indexes, mounts and serves one image: what the serving process does, or the command itself with -f.
//
//   opening ──▶ indexing ──▶ mounted ──(verifying behind it)──▶ finished ──▶ everything released
//      └───────────┴── a failure or the signal undoes what was done and is thrown

import { resolve } from 'node:path'
import { Cache } from '../cache/cache.js'
import { escapeName } from '../byte-string.js'
import { isOcimountError, messageOf, OcimountError } from '../errors.js'
import { formatPlatform, hostPlatform } from '../image/platform.js'
import { configureLogger, log } from '../logger.js'
import { serveControl, type MountStatus } from '../mount/control.js'
import { mountRootfs, type RootfsMount } from '../mount/mount.js'
import { MountState } from '../mount/state.js'
import { parsePlatform } from '../reference/platform.js'
import { buildRootfs, type Rootfs } from '../rootfs/build-rootfs.js'
import type { Image } from '../source/image.js'
import { openImage } from '../source/open-image.js'
import type { MountRequest } from './mount-request.js'
import type { ProgressUpdate } from './progress.js'

/** What was mounted, for the line that the user sees and for --json. */
export interface MountSummary {
  readonly id: string
  readonly mountpoint: string
  readonly image: string
  readonly imageId: string
  readonly platform: string
  readonly layers: number
  readonly files: number
  readonly driver: string
  readonly writable: boolean
  readonly verification: 'verified' | 'pending'
  readonly altered: number
  readonly hidden: number
  readonly warnings: readonly string[]
  /** From the request to the usable mount, in this process; then its parts. */
  readonly seconds: number
  readonly openSeconds: number
  readonly indexSeconds: number
  readonly mountSeconds: number
  readonly pid: number
}

export interface ServeHooks {
  readonly onProgress?: ((update: ProgressUpdate) => void) | undefined
  /** Ends the start, or unmounts when the mount is up already. */
  readonly signal: AbortSignal
  /** Where log lines go: the state's log file, or standard error in the foreground. */
  readonly logsToFile: boolean
}

/** A mount that is usable. */
export interface ServedMount {
  readonly summary: MountSummary
  /** Resolves when the mount is gone and everything is released. */
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
  const { signal, onProgress } = hooks
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
  })
  cleanup.undo.push(() => state.remove())
  configureLogger(
    hooks.logsToFile
      ? { level: request.logLevel, file: state.logPath }
      : { level: request.logLevel },
  )

  const cache = await Cache.open({ dir: request.cacheDir })
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
  cleanup.undo.push(() => image.close())
  const opened = performance.now()

  const rootfs = await buildRootfs(image, { cache, verify: request.verify, onProgress, signal })
  cleanup.undo.push(() => rootfs.close())
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
      fsName: fsName(request.image),
      workDirectory: state.directory,
    }),
  )
  let isGone = false
  void mount.finished.then(() => (isGone = true))
  cleanup.undo.push(async () => {
    if (!isGone) await mount.unmount({ lazy: true })
  })
  const mounted = performance.now()

  const seconds = (from: number, to: number): number => Math.round((to - from) * 10) / 10_000
  const summary: MountSummary = {
    id: state.id,
    mountpoint: mount.mountpoint,
    image: image.name ?? request.image,
    imageId: image.configDigest,
    platform: formatPlatform(image.platform),
    layers: rootfs.info.layerIds.length,
    files: rootfs.info.counts.inodes,
    driver: mount.driver,
    writable: mount.isWritable,
    verification: rootfs.isVerified ? 'verified' : 'pending',
    altered: rootfs.info.readReport().total,
    // What the driver cannot show at all; names and times that it alters are in `status`.
    hidden: mount.driver === 'fuse-native' ? rootfs.info.counts.notUtf8 : 0,
    warnings: [...image.warnings, ...platformWarning(request, image)],
    seconds: seconds(begin, mounted),
    openSeconds: seconds(begin, opened),
    indexSeconds: seconds(opened, indexed),
    mountSeconds: seconds(indexed, mounted),
    pid: process.pid,
  }
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
  return {
    summary,
    finished: keepServing({ state, rootfs, mount, summary }, hooks, cleanup.release),
  }
}

interface Served {
  readonly state: MountState
  readonly rootfs: Rootfs
  readonly mount: RootfsMount
  readonly summary: MountSummary
}

async function keepServing(
  served: Served,
  hooks: ServeHooks,
  release: () => Promise<void>,
): Promise<void> {
  const { state, mount, rootfs } = served
  const ending = new AbortController()
  const control = await serveControl(state.directory, {
    status: async (): Promise<MountStatus> => ({
      record: state.record,
      summary: served.summary,
      limits: (await mount.listLimits()).map(({ path, ...limit }) => ({
        ...limit,
        path: escapeName(path),
      })),
      devices: rootfs.devices.map((device) => ({
        size: device.size,
        presentBytes: device.presentBytes?.(),
        faults: device.faults?.() ?? [],
      })),
    }),
    unmount: ({ lazy }) => mount.unmount({ lazy }),
  })
  const unmount = (): void => {
    mount
      .unmount()
      .catch((error: unknown) => {
        // Somebody is inside. Detached now, gone when they leave: a signal must end in an unmounted filesystem.
        log.info({ cause: messageOf(error) }, 'The mount is busy: detaching it')
        return mount.unmount({ lazy: true })
      })
      .catch((error: unknown) => {
        log.error({ cause: messageOf(error) }, 'Cannot unmount')
      })
  }
  if (hooks.signal.aborted) unmount()
  hooks.signal.addEventListener('abort', unmount, { once: true })
  const verification = verifyBehind(served, rootfs, ending.signal)
  await mount.finished
  ending.abort()
  hooks.signal.removeEventListener('abort', unmount)
  await verification
  await control.close()
  await release()
}

/** Hashes what is served; when it is wrong every read fails from then on, and the mount goes away. */
async function verifyBehind(
  { state, mount }: Served,
  rootfs: Rootfs,
  signal: AbortSignal,
): Promise<void> {
  if (rootfs.isVerified) return
  try {
    await rootfs.verify({ signal })
    await state.update({ verification: 'verified' })
    log.info({}, 'The image is verified')
  } catch (error) {
    if (signal.aborted) return
    const code = isOcimountError(error) ? error.code : 'INTERNAL'
    const message = messageOf(error)
    log.error({ code }, `Verification failed: ${message}`)
    await state.update({ verification: 'failed', state: 'failed', error: { code, message } })
    // Reads fail by now. Lazily, since readers may be inside; without an error they would trust what they have.
    await mount.unmount({ lazy: true }).catch((cause: unknown) => {
      log.error({ cause: messageOf(cause) }, 'Cannot unmount')
    })
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

function imageRecord(request: MountRequest, image: Image): MountState['record']['image'] {
  return {
    reference: request.image,
    // Read by people in other directories. Standard input has no path.
    source: request.image === '-' ? image.source.path : resolve(request.cwd, image.source.path),
    digest: image.manifestDigest ?? image.configDigest,
    platform: formatPlatform(image.platform),
    ...(image.name === undefined ? {} : { name: image.name }),
  }
}

// A single manifest for another machine can still be looked at.
function platformWarning(request: MountRequest, image: Image): string[] {
  const host = formatPlatform(hostPlatform())
  const platform = formatPlatform(image.platform)
  if (request.platform !== undefined || image.warnings.length > 0 || platform === host) return []
  return platform.startsWith(`${host}/`)
    ? []
    : [`the image is for ${platform}, this machine is ${host}`]
}

// Shown by mount(8) as the source; commas would end the option.
function fsName(image: string): string {
  return image.replace(/[^\w./:@+-]/g, '_').slice(0, 200)
}

function interrupted(cause: unknown): OcimountError {
  return new OcimountError('INTERRUPTED', 'Cannot mount: interrupted', { cause })
}
