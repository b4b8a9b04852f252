// Mounts one image and serves it alone: what the command does with -f, and the serving process where mounts cannot share
// a server (see serve-shared.ts).
//
//   opening ──▶ indexing ──▶ mounted ──(live-mount.ts)──▶ gone ──▶ everything released
//      └───────────┴── a failure or the signal undoes what was done and is thrown

import { configureLogger } from '../logger.js'
import { mountRootfs } from '../mount/mount.js'
import { MountState } from '../mount/state.js'
import { serveUntilGone, type StayHooks } from './live-mount.js'
import type { MountRequest } from './mount-request.js'
import { imageRecord, optionsRecord, summariseMount, type MountSummary } from './mount-summary.js'
import {
  fsNameOf,
  oneAtATime,
  openToServe,
  undoingOnFailure,
  type Cleanup,
  type ServeHooks,
} from './serve-start.js'

/** A mount that is usable. */
export interface ServedMount {
  readonly summary: MountSummary
  /** Resolves when this process is not needed any more: what it serves is not mounted, or left to itself; all is released. */
  readonly finished: Promise<void>
}

export interface MountHooks extends ServeHooks, StayHooks {
  /** Where log lines go: the state's log file, or standard error in the foreground. */
  readonly logsToFile: boolean
}

/**
 * Mounts the image that a request names.
 *
 * @throws OcimountError of every room; nothing is left behind
 */
export async function serveMount(request: MountRequest, hooks: MountHooks): Promise<ServedMount> {
  return undoingOnFailure(hooks.signal, async (cleanup) => {
    const state = await MountState.create({
      mountpoint: request.mountpoint,
      image: { reference: request.image },
      options: optionsRecord(request),
      isWritable: request.writable,
      direct: request.direct,
    })
    const end = { isLeft: false }
    cleanup.add(async () => {
      if (!end.isLeft) await state.remove()
    })
    const { logLevel: level } = request
    configureLogger(hooks.logsToFile ? { level, file: state.logPath } : { level })
    return start(request, hooks, { state, cleanup, end })
  })
}

interface Started {
  readonly state: MountState
  readonly cleanup: Cleanup
  /** Whether a direct mount goes on without this process, and its state with it. */
  readonly end: { isLeft: boolean }
}

async function start(
  request: MountRequest,
  hooks: MountHooks,
  { state, cleanup, end }: Started,
): Promise<ServedMount> {
  const { signal } = hooks
  const open = await openToServe(request, { hooks, cleanup, spareDirectory: state.directory })
  const { cache, image, rootfs } = open
  const mount = await oneAtATime(request.mountpoint, { cache, signal }, () =>
    mountRootfs(rootfs, request.mountpoint, {
      driver: request.driver,
      writable: request.writableDir ?? request.writable,
      ...(request.allowOther ? { allowOther: true } : {}),
      suid: request.suid,
      dev: request.dev,
      noexec: request.noexec,
      ...(request.direct ? { direct: cache } : {}),
      fsName: fsNameOf(request.image),
      workDirectory: state.directory,
    }),
  )
  let isGone = false
  void mount.finished.then(() => (isGone = true))
  cleanup.add(async () => {
    if (!isGone && !end.isLeft) await mount.unmount({ lazy: true })
  })
  const staysAlone = mount.isDirect && hooks.leavesDirect && rootfs.isVerified
  const summary = summariseMount(
    {
      ...{ id: state.id, request, image, rootfs, mount, warnings: open.warnings },
      pid: staysAlone ? null : process.pid,
    },
    { ...open, mounted: performance.now() },
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
  const finished = serveUntilGone(
    { state, image, rootfs, mount, summary, prefetch: request.prefetch },
    hooks,
  ).then(async (how) => {
    end.isLeft = how === 'left'
    await cleanup.run()
  })
  return { summary, finished }
}
