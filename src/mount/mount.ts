// Mounts a root filesystem: picks the driver, checks the place, and stacks the overlay where one is wanted.
//
//   read-only:  driver at MOUNTPOINT
//   writable:   driver at WORK/lower, tmpfs at WORK/scratch (no directory given), overlay at MOUNTPOINT,
//               then scratch and lower are unmounted again: the overlay keeps what it needs (see overlay.ts)
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
import { mountAt, readMountinfo } from './mountinfo.js'
import { checkMountpoint } from './mountpoint.js'
import { checkOverlayAccess, mountOverlay } from './overlay.js'
import { runTool } from './run-tool.js'
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
  mountLower: PreparedDriver,
  target: MountTarget,
  place: { readonly path: string; readonly work: string; readonly options: MountOptions },
): Promise<LiveMount> {
  const { path, work, options } = place
  const lower = join(work, 'lower')
  const scratch = join(work, 'scratch')
  await mkdir(lower, { mode: 0o700, recursive: true })
  const mount = await mountLower(target, lower)
  try {
    const directory =
      typeof options.writable === 'string' ? options.writable : await mountScratch(scratch)
    const entry = await mountOverlay({
      lower,
      directory,
      mountpoint: path,
      rootInode: target.image.inode(target.image.rootNid),
      flags: [
        options.suid ? 'suid' : 'nosuid',
        options.dev ? 'dev' : 'nodev',
        ...(options.noexec ? ['noexec'] : []),
      ],
    })
    try {
      await unmountIfMounted(scratch)
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
    await unmountIfMounted(scratch)
    await unmountIfMounted(lower)
    throw error
  }
}

/** A tmpfs of its own: the directory for run-time state is small, and may be on a filesystem that no overlay takes. */
async function mountScratch(scratch: string): Promise<string> {
  await mkdir(scratch, { mode: 0o700 })
  const args = ['-t', 'tmpfs', '-o', 'mode=0700,nodev', '--', 'ocimount', scratch]
  const result = await runTool('mount', args)
  if (result.status === 0) return scratch
  throw new OcimountError(
    'MOUNT_FAILED',
    `Cannot make the mount writable: ${escapeText(result.message)}`,
  )
}

async function unmountIfMounted(path: string): Promise<void> {
  if (mountAt(await readMountinfo(), path) !== undefined) await detach(path, true)
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
