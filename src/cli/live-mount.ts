// The life of a mount that is up: its control socket, the hashing behind it, the signal that ends it.

import { setTimeout } from 'node:timers/promises'
import { escapeName } from '../byte-string.js'
import { isOcimountError, messageOf } from '../errors.js'
import { log } from '../logger.js'
import { serveControl, type MountStatus } from '../mount/control.js'
import type { RootfsMount } from '../mount/mount.js'
import type { DriverLimit } from '../mount/driver.js'
import { releaseMemory } from '../mount/release-memory.js'
import type { MountChange, MountState } from '../mount/state.js'
import type { Rootfs } from '../rootfs/build-rootfs.js'
import { prefetch, untilQuiet, type PrefetchMode } from '../rootfs/prefetch.js'
import type { Image } from '../source/image.js'
import type { MountSummary } from './mount-summary.js'

/** Any time; a timer is what keeps Node.js from ending. */
const STAYING_MS = 3_600_000

export interface StayHooks {
  /** Ends the start, or unmounts when the mount is up already. */
  readonly signal: AbortSignal
  /** Ends when a direct mount is verified and leaves it; else the process stays until it is unmounted. */
  readonly leavesDirect: boolean
}

/** A mount that is up, and what it was made of. */
export interface LiveMount {
  readonly state: MountState
  readonly image: Image
  readonly rootfs: Rootfs
  readonly mount: RootfsMount
  readonly summary: MountSummary
  readonly prefetch: PrefetchMode
}

/**
 * Answers on the control socket, and verifies behind the mount, until that is gone. A direct mount is left, its state with it,
 * when it is verified, where the hooks say so.
 */
export async function serveUntilGone(live: LiveMount, hooks: StayHooks): Promise<'gone' | 'left'> {
  const { state, mount, rootfs, image } = live
  const ending = new AbortController()
  const control = await serveControl(state.directory, {
    status: async (): Promise<MountStatus> => ({
      record: state.record,
      summary: live.summary,
      ...factsOf(image, rootfs, await mount.listLimits()),
    }),
    unmount: async ({ lazy }) => {
      await mount.unmount({ lazy })
      return { endsServer: true }
    },
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
  const verification = verifyBehind({
    rootfs,
    update: (change) => state.update(change),
    detach: () => mount.unmount({ lazy: true }),
    signal: ending.signal,
  })
  void prefetch(rootfs, live.prefetch, ending.signal)
  // Nothing else need keep the process alive behind a direct mount.
  const staying = setInterval(() => undefined, STAYING_MS)
  let isGone = false
  const gone = mount.finished.then(() => (isGone = true))
  const leaves = mount.isDirect && hooks.leavesDirect
  await (leaves ? Promise.race([gone, hashed(verification, hooks.signal)]) : gone)
  clearInterval(staying)
  ending.abort()
  hooks.signal.removeEventListener('abort', unmount)
  const outcome = await verification
  await control.close()
  // The state of one that was found wrong stays, to say so: that its readers had no error is known to nobody else.
  const isLeft = leaves && (outcome === 'wrong' || (outcome === 'right' && !isGone))
  return isLeft ? 'left' : 'gone'
}

/** What hashing behind a mount has found. */
export type Outcome = 'right' | 'wrong' | 'stopped'

/** Settles when the hashing has come to its end by itself; whoever is told to unmount waits for that instead. */
async function hashed(verification: Promise<Outcome>, signal: AbortSignal): Promise<void> {
  await verification
  if (signal.aborted) await new Promise(() => undefined)
}

/** What `status` tells of a mount beside its record. */
export function factsOf(
  image: Image,
  rootfs: Rootfs,
  limits: readonly DriverLimit[],
): Readonly<Record<string, unknown>> {
  return {
    warnings: image.warnings,
    registry: image.registry(),
    limits: limits.map(({ path, ...limit }) => ({ ...limit, path: escapeName(path) })),
    devices: rootfs.devices.map((device, index) => ({
      size: device.size,
      ...rootfs.layers[index],
      presentBytes: device.presentBytes?.(),
      ...device.fetched?.(),
      faults: device.faults?.() ?? [],
    })),
  }
}

/** What is verified, and what becomes of it. */
export interface Verification {
  readonly rootfs: Rootfs
  readonly update: (change: MountChange) => Promise<void>
  readonly detach: () => Promise<void>
  readonly signal: AbortSignal
}

/**
 * Hashes what is served; when it is wrong every read fails from then on, and the mount goes away. Afterwards, when readers leave the
 * time for it, the memory that indexing took is given back. Reads of a direct mount do not fail: who has a file open there goes on
 * reading it. Never rejects.
 */
export async function verifyBehind(verification: Verification): Promise<Outcome> {
  const { rootfs, signal } = verification
  const sinceMs = performance.now()
  const outcome = await verify(verification)
  if (outcome !== 'stopped') void releaseWhenQuiet(rootfs, sinceMs, signal)
  return outcome
}

/** Of readers that never pause. */
const MOST_PATIENCE_MS = 60_000

async function releaseWhenQuiet(
  { devices }: Rootfs,
  sinceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const either = AbortSignal.any([signal, AbortSignal.timeout(MOST_PATIENCE_MS)])
  await untilQuiet(devices, sinceMs, either).catch(() => undefined)
  if (!signal.aborted) releaseMemory()
}

/** The answer is on its way, and whoever waits for it has the processors first: to begin with, hashing starts a thread. */
const HEAD_START_MS = 50

async function verify({ rootfs, update, detach, signal }: Verification): Promise<Outcome> {
  if (rootfs.isVerified) return 'right'
  try {
    await setTimeout(HEAD_START_MS, undefined, { signal })
    await rootfs.verify({ signal })
    await update({ verification: 'verified' })
    log.info({}, 'The image is verified')
    return 'right'
  } catch (error) {
    if (signal.aborted) return 'stopped'
    const code = isOcimountError(error) ? error.code : 'INTERNAL'
    const message = messageOf(error)
    log.error({ code }, `Verification failed: ${message}`)
    await update({ verification: 'failed', state: 'failed', error: { code, message } })
    // Reads fail by now. Lazily, since readers may be inside; without an error they would trust what they have.
    await detach().catch((cause: unknown) => {
      log.error({ cause: messageOf(cause) }, 'Cannot unmount')
    })
    return 'wrong'
  }
}
