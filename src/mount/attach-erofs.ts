// What every EROFS mount of ours shares, whoever reads its devices: its name in the table of mounts, and that a failed start
// leaves nothing.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError, systemErrorCode } from '../errors.js'
import type { MountFlags } from './driver.js'
import { EROFS_SOURCE, isOurMount, mountAt, readMountinfo, type MountEntry } from './mountinfo.js'
import { nativeFlags } from './native-server.js'
import { detach } from './unmount.js'

/** Where a mount goes, as the addon takes it. */
export interface ErofsPlace {
  readonly mountpoint: string
  readonly sourceLink: string
  readonly flags: ReturnType<typeof nativeFlags>
}

/** What the kernel answers when it cannot mount EROFS from files at all. */
const NOT_THIS_KERNEL = new Set(['ENODEV', 'ENOTBLK', 'ENOSYS', 'EOPNOTSUPP'])

/**
 * Has `mount` make the mount and gives its entry in the table.
 *
 * @throws OcimountError `DRIVER_UNAVAILABLE`, `MOUNT_FAILED`; and those that `mount` throws itself
 */
export async function attachErofs(
  mountpoint: string,
  flags: MountFlags,
  mount: (place: ErofsPlace) => Promise<void>,
): Promise<MountEntry> {
  // EROFS shows the path that it was given as the source of the mount for as long as that lives; a link with a name of
  // ours is how the mount is known again.
  const links = await mkdtemp(join(flags.workDirectory ?? tmpdir(), 'ocimount-'))
  const sourceLink = join(links, `${EROFS_SOURCE}${plainName(flags.fsName ?? 'ocimount')}`)
  try {
    await mount({ mountpoint, sourceLink, flags: nativeFlags(flags) })
    const entry = mountAt(await readMountinfo(), mountpoint)
    if (entry === undefined || !isOurMount(entry)) throw new Error('the mount vanished at once')
    return entry
  } catch (error) {
    await detachIfOurs(mountpoint)
    throw explainMountError(error, mountpoint)
  } finally {
    await rm(links, { recursive: true, force: true })
  }
}

/** Makes the error for a driver that cannot work here. */
export function kernelUnavailable(why: string, cause?: unknown): OcimountError {
  const options = cause === undefined ? {} : { cause }
  return new OcimountError('DRIVER_UNAVAILABLE', `Cannot use the driver kernel: ${why}`, options)
}

async function detachIfOurs(mountpoint: string): Promise<void> {
  const entry = mountAt(await readMountinfo(), mountpoint)
  if (entry !== undefined && isOurMount(entry))
    await detach(mountpoint, true).catch(() => undefined)
}

/** Turns what the addon throws into an error of ours. */
export function explainMountError(error: unknown, mountpoint: string): OcimountError {
  if (error instanceof OcimountError) return error
  const why = escapeText(messageOf(error))
  if (NOT_THIS_KERNEL.has(systemErrorCode(error) ?? '')) return kernelUnavailable(why, error)
  const message = `Cannot mount at ${escapeText(mountpoint)}: ${why}`
  return new OcimountError('MOUNT_FAILED', message, { cause: error })
}

/** One part of a path, of harmless characters. */
function plainName(name: string): string {
  return name.replace(/[^\w.:@+=-]/g, '_').slice(-100)
}
