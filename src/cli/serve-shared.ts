// Mounts one image on a lower that all mounts of it share (mount/lower.ts). The process that opened the image looks for one
// whose server lives, and has that mount; only where there is none it becomes the server itself.
//
//   opening ──▶ indexing ──▶ a lower with this key? ──yes──▶ attach there, and this process is done
//                                   │ no, under a lock
//                                   ▼
//                       mount the lower, attach to it, publish the key ──▶ serve until nothing is mounted on it

import { createHash } from 'node:crypto'
import { readlink } from 'node:fs/promises'
import { configureLogger, log } from '../logger.js'
import { identityKey } from '../cache/file-identity.js'
import { isOcimountError, messageOf, OcimountError } from '../errors.js'
import type { Attachment } from '../mount/attachment.js'
import { requestAttach } from '../mount/control.js'
import { createLowerDirectory, Lower, type LowerDirectory } from '../mount/lower.js'
import { findLowers } from '../mount/lower-record.js'
import type { MountRecord } from '../mount/state.js'
import { prefetch } from '../rootfs/prefetch.js'
import type { MountRequest } from './mount-request.js'
import { imageRecord, optionsRecord, summariseMount } from './mount-summary.js'
import { factsOf, verifyBehind } from './live-mount.js'
import {
  fsNameOf,
  oneAtATime,
  openToServe,
  undoingOnFailure,
  withLockIfPossible,
  type Cleanup,
  type RootfsToServe,
  type ServeHooks,
} from './serve-start.js'
import type { ServedMount } from './serve-mount.js'

/** A mount on a lower, and until when this process has to serve it. */
export interface Attached {
  readonly record: MountRecord
  readonly finished: Promise<void>
}

/** Tells whether mounts can share a server here: an ordinary user can neither bind a mount nor stack on it. */
export function canShare(): boolean {
  return process.geteuid?.() === 0
}

/**
 * Mounts the image that a request names, on a lower.
 *
 * @throws OcimountError of every room; nothing is left behind
 */
export async function serveShared(request: MountRequest, hooks: ServeHooks): Promise<ServedMount> {
  return undoingOnFailure(hooks.signal, async (cleanup) => {
    const place = await prepareLower(request, cleanup)
    const open = await openToServe(request, { hooks, cleanup, spareDirectory: place.directory })
    const { image, rootfs } = open
    const { record, finished } = await attach(request, open, {
      ...{ place, hooks, cleanup },
      attachment: {
        mountpoint: request.mountpoint,
        writable: request.writableDir ?? request.writable,
        flags: { suid: request.suid, dev: request.dev, noexec: request.noexec },
        image: imageRecord(request, image),
        options: optionsRecord(request),
        verifyFirst: request.verify === 'before',
      },
    })
    const { id, pid, mountpoint, driver = '', isWritable, verification } = record
    const summary = summariseMount(
      {
        id,
        pid,
        request,
        image,
        rootfs,
        mount: { mountpoint, driver, isWritable, isDirect: false },
        warnings: open.warnings,
      },
      { ...open, mounted: performance.now() },
    )
    const isVerified = verification === 'verified'
    return {
      summary: { ...summary, verification: isVerified ? 'verified' : 'pending' },
      finished,
    }
  })
}

/** Makes the place of a lower, so that what goes on before it is known whether one is needed has a log. */
export async function prepareLower(
  request: Pick<MountRequest, 'logLevel'>,
  cleanup: Cleanup,
): Promise<LowerDirectory> {
  const place = await createLowerDirectory()
  cleanup.add(() => place.remove())
  configureLogger({ level: request.logLevel, file: place.logPath })
  return place
}

export interface AttachRequest {
  readonly attachment: Attachment
  readonly place: LowerDirectory
  readonly hooks: ServeHooks
  readonly cleanup: Cleanup
}

type LowerRequest = Pick<MountRequest, 'image' | 'driver' | 'prefetch'> & {
  readonly allowOther?: boolean
}

/**
 * Mounts on the lower of an open image: one that is there, or one of this process.
 *
 * @throws OcimountError of mount/
 */
export async function attach(
  request: LowerRequest,
  open: RootfsToServe,
  { attachment, place, hooks, cleanup }: AttachRequest,
): Promise<Attached> {
  const { signal } = hooks
  const key = await lowerKey(request, open)
  const refused = new Set<string>()
  const there = await attachToLive(key, attachment, refused)
  const record =
    there ??
    (await withLockIfPossible(`lower-${key}`, { cache: open.cache, signal }, async () => {
      const made = await attachToLive(key, attachment, refused)
      return made ?? becomeServer(request, open, { attachment, place, hooks, cleanup, key })
    }))
  if ('record' in record) return record
  // Another process serves it; what this one opened is not needed.
  await cleanup.run()
  return { record, finished: Promise.resolve() }
}

async function attachToLive(
  key: string,
  attachment: Attachment,
  refused: Set<string>,
): Promise<MountRecord | undefined> {
  for (const directory of await findLowers(key)) {
    if (refused.has(directory)) continue
    try {
      return await requestAttach(directory, attachment)
    } catch (error) {
      // It is about to end, or does not answer.
      if (!isOcimountError(error, 'NOT_MOUNTED')) throw error
      refused.add(directory)
      log.info({ directory }, messageOf(error))
    }
  }
  return undefined
}

async function becomeServer(
  request: LowerRequest,
  open: RootfsToServe,
  { attachment, place, hooks: { signal }, cleanup, key }: AttachRequest & { readonly key: string },
): Promise<Attached> {
  const { image, rootfs, cache } = open
  const ending = new AbortController()
  const lower = await Lower.start(place, rootfs, {
    driver: request.driver,
    fsName: fsNameOf(request.image),
    ...(request.allowOther ? { allowOther: true } : {}),
    facts: {
      record: () => ({
        layers: rootfs.info.layerIds,
        rootfsKey: rootfs.key,
        verification: rootfs.isVerified ? 'verified' : 'pending',
      }),
      describe: async () => factsOf(image, rootfs, await lower.mount.listLimits()),
      verify: () => rootfs.verify({ signal: ending.signal }),
      exclusively: (mountpoint, work) => oneAtATime(mountpoint, { cache }, work),
    },
  })
  const end = (): void => void lower.detachAll()
  const finished = lower.ended.then(async () => {
    ending.abort()
    signal.removeEventListener('abort', end)
    await verified
    await cleanup.run()
  })
  let verified: Promise<unknown> = Promise.resolve()
  cleanup.add(async () => {
    await lower.detachAll()
    await lower.ended
  })
  const record = await lower.attach(attachment)
  await lower.publish(key)
  if (signal.aborted) throw new OcimountError('INTERRUPTED', 'Cannot mount: interrupted')
  signal.addEventListener('abort', end, { once: true })
  verified = verifyBehind({
    rootfs,
    update: (change) => lower.update(change),
    detach: () => lower.detachAll(),
    signal: ending.signal,
  })
  void prefetch(rootfs, request.prefetch, ending.signal)
  return { record, finished }
}

/** What two mounts must have in common to share a server: what is served, from which files, how, and to whom. */
async function lowerKey(
  { driver, allowOther = false }: LowerRequest,
  { cache, image, rootfs }: RootfsToServe,
): Promise<string> {
  const files = image.layers.map(({ region }) => [region.offset, identityKey(region.identity)])
  const namespaces = await Promise.all(
    ['mnt', 'user'].map(async (kind) => readlink(`/proc/self/ns/${kind}`)),
  )
  const facts = [rootfs.key, files, cache.root, driver, allowOther, namespaces]
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex')
}
