// Mounts a root filesystem: picks the driver, checks the place, and stacks the overlay where one is wanted.
//
//   read-only:  driver at MOUNTPOINT
//   writable:   driver at WORK/lower, overlay at MOUNTPOINT (see stack.ts), then lower is unmounted again
//
// Nothing here and below may open, stat or watch a path inside the mount on the JavaScript thread, which is the
// one that answers.

import { mkdir, mkdtemp, realpath, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { escapeText } from '../byte-string.js'
import { isOcimountError, messageOf, OcimountError, systemErrorCode } from '../errors.js'
import { log } from '../logger.js'
import {
  candidateDrivers,
  checkTarget,
  type DriverName,
  type LiveMount,
  type MountDriver,
  type MountFlags,
  type MountTarget,
  type PreparedDriver,
} from './driver.js'
import { fuseDriver } from './fuse-driver.js'
import { fuseNativeDriver } from './fuse-native-driver.js'
import { kernelDriver } from './kernel-driver.js'
import { checkMountpoint } from './mountpoint.js'
import { checkOverlayAccess } from './overlay.js'
import { stackOn, unmountIfMounted } from './stack.js'
import { unservedMount } from './unserved-mount.js'
import { detach, detachMount } from './unmount.js'

export interface MountOptions extends MountFlags {
  readonly driver?: DriverName
  /** Stacks an overlay: true for one whose contents vanish with it, or the directory that keeps what is written. */
  readonly writable?: boolean | string
}

/** A mount and what made it. */
export interface RootfsMount extends LiveMount {
  readonly driver: MountDriver['name']
  readonly isWritable: boolean
}

/**
 * Mounts an image at an existing directory. This process serves it until `finished`; it must not touch the mount with
 * synchronous calls meanwhile. The devices stay the caller's, to be closed after `finished`, or at any time where nobody serves
 * the mount ({@link MountFlags.direct}).
 *
 * A failure leaves nothing behind.
 *
 * @throws OcimountError `MOUNTPOINT_INVALID`, `MOUNT_BUSY`, `MOUNT_DENIED`, `MOUNT_FAILED`, `DRIVER_UNAVAILABLE`; for a direct
 *   mount `USAGE`, `IMAGE_UNSUPPORTED`, `SOURCE_CHANGED`, `STORAGE_FULL`, `STORAGE_FAILED`
 */
export async function mountRootfs(
  target: MountTarget,
  mountpoint: string,
  options: MountOptions = {},
): Promise<RootfsMount> {
  checkTarget(target)
  const path = await checkMountpoint(mountpoint)
  const { driver: wanted = 'auto', writable = false } = options
  const names = candidateDrivers(wanted, options.direct !== undefined)
  if (writable === false) {
    const { live, driver } = await mountWith(names, options, (mount) => mount(target, path))
    return { ...live, driver, isWritable: false }
  }
  checkOverlayAccess()
  const work = await makeWorkDirectory(options.workDirectory)
  try {
    const { live, driver } = await mountWith(names, options, (mount) =>
      stack(mount, target, { path, work, options }),
    )
    return { ...live, driver, isWritable: true }
  } finally {
    await removeEmpty([join(work, 'lower'), join(work, 'scratch'), work])
  }
}

/**
 * Mounts an image where others of ours stack on it, in a directory that only this user may enter: with all flags, since
 * each of them has its own.
 *
 * @throws OcimountError `MOUNT_DENIED`, `MOUNT_FAILED`, `DRIVER_UNAVAILABLE`
 */
export async function mountLower(
  target: MountTarget,
  path: string,
  options: MountFlags & { readonly driver: DriverName },
): Promise<RootfsMount> {
  checkTarget(target)
  const flags = { ...options, suid: true, dev: true, noexec: false }
  const names = candidateDrivers(options.driver, false)
  const { live, driver } = await mountWith(names, flags, (mount) => mount(target, path))
  return { ...live, driver, isWritable: false }
}

/** Best first. */
const DRIVERS: readonly MountDriver[] = [kernelDriver, fuseDriver, fuseNativeDriver]

/**
 * Mounts with the first of the named drivers that works.
 *
 * One that cannot work here is passed over; one that should have worked and was refused by the kernel is passed over with
 * a warning in the log. Any other failure is not the driver's. What the last one says is the reason that is told.
 */
async function mountWith(
  names: readonly MountDriver['name'][],
  flags: MountFlags,
  attempt: (mount: PreparedDriver) => Promise<LiveMount>,
): Promise<{ readonly live: LiveMount; readonly driver: MountDriver['name'] }> {
  const candidates = names.flatMap((name) => DRIVERS.filter((driver) => driver.name === name))
  for (const driver of candidates) {
    let level: 'info' | 'warn' = 'info'
    try {
      const mount = await driver.prepare(flags)
      level = 'warn'
      return { live: await attempt(mount), driver: driver.name }
    } catch (error) {
      if (driver === candidates.at(-1)) throw error
      if (!isOcimountError(error, 'DRIVER_UNAVAILABLE')) throw error
      log[level]({ driver: driver.name }, error.message)
    }
  }
  throw new OcimountError('INTERNAL', `Cannot mount with ${names.join(', ')}: there is none`)
}

async function stack(
  mountBelow: PreparedDriver,
  target: MountTarget,
  place: { readonly path: string; readonly work: string; readonly options: MountOptions },
): Promise<LiveMount> {
  const { path, work, options } = place
  const lower = join(work, 'lower')
  await mkdir(lower, { mode: 0o700, recursive: true })
  const mount = await mountBelow(target, lower)
  try {
    const rootInode = target.image.inode(target.image.rootNid)
    const request = { mountpoint: path, writable: options.writable ?? true, work, flags: options }
    const entry = await stackOn({ path: lower, rootInode }, request)
    try {
      await mount.unmount()
    } catch (error) {
      await detach(path, true)
      throw error
    }
    if (mount.isDirect) return unservedMount(entry)
    return {
      ...mount,
      mountpoint: path,
      device: entry.device,
      unmount: async ({ lazy = false } = {}) => detachMount(entry, lazy),
    }
  } catch (error) {
    await unmountIfMounted(lower)
    throw error
  }
}

async function makeWorkDirectory(parent = tmpdir()): Promise<string> {
  try {
    // Canonical, since the table of mounts is.
    return await realpath(await mkdtemp(join(parent, 'ocimount-')))
  } catch (error) {
    throw new OcimountError(
      'MOUNT_FAILED',
      `Cannot make the mount writable: ${escapeText(messageOf(error))}`,
      { cause: error },
    )
  }
}

/** Never recursive: were one of them still a mount, its contents would go. */
async function removeEmpty(directories: readonly string[]): Promise<void> {
  for (const directory of directories) {
    try {
      await rmdir(directory)
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') continue
      log.warn({ directory: escapeText(directory) }, messageOf(error))
    }
  }
}
