// The life of a mount that is up: its control socket, the hashing behind it, the signal that ends it.

import { escapeName } from '../byte-string.js'
import { isOcimountError, messageOf } from '../errors.js'
import { log } from '../logger.js'
import { serveControl, type MountStatus } from '../mount/control.js'
import type { RootfsMount } from '../mount/mount.js'
import type { MountState } from '../mount/state.js'
import type { Rootfs } from '../rootfs/build-rootfs.js'
import type { MountSummary } from './mount-summary.js'
import { releaseMemory } from './release-memory.js'

/** A mount that is up, and what it was made of. */
export interface LiveMount {
  readonly state: MountState
  readonly rootfs: Rootfs
  readonly mount: RootfsMount
  readonly summary: MountSummary
}

/**
 * Answers `status` and `umount`, hashes what is not verified yet, and unmounts when the signal fires. Resolves when the
 * mount is gone, whoever took it away; what it was made of is then the caller's to release.
 */
export async function serveUntilGone(live: LiveMount, signal: AbortSignal): Promise<void> {
  const { state, mount, rootfs } = live
  const ending = new AbortController()
  const control = await serveControl(state.directory, {
    status: async (): Promise<MountStatus> => ({
      record: state.record,
      summary: live.summary,
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
  if (signal.aborted) unmount()
  signal.addEventListener('abort', unmount, { once: true })
  const verification = verifyBehind(live, ending.signal)
  void verification.then(() => {
    if (!ending.signal.aborted) releaseMemory()
  })
  await mount.finished
  ending.abort()
  signal.removeEventListener('abort', unmount)
  await verification
  await control.close()
}

/** Hashes what is served; when it is wrong every read fails from then on, and the mount goes away. */
async function verifyBehind(
  { state, rootfs, mount }: LiveMount,
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
