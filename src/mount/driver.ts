// What a driver takes and what it gives back. A driver turns an EROFS image and its devices into a mounted
// filesystem; everything around it (overlay, state, unmounting) is the same for all of them.

import type { ByteString } from '../byte-string.js'
import type { Cache } from '../cache/cache.js'
import type { ErofsImage } from '../erofs/reader.js'
import { OcimountError } from '../errors.js'
import type { LayerDevice } from '../layer/device.js'

/** What a mount asks of the kernel. */
export interface MountFlags {
  /** Lets other users in, with the modes checked by the kernel; default: for root. */
  readonly allowOther?: boolean
  /** Honours setuid bits and file capabilities. */
  readonly suid?: boolean
  /** Honours device nodes. */
  readonly dev?: boolean
  readonly noexec?: boolean
  /** What the kernel shows as the source of the mount; default `ocimount`. */
  readonly fsName?: string
  /**
   * An existing directory for what is needed while mounting; default: a temporary one, gone afterwards. Its path stays
   * in what the kernel shows of the mount, by which list-mounts.ts knows a dead one.
   */
  readonly workDirectory?: string
  /**
   * Has the kernel read the layers' files by itself: nobody serves the mount, which outlives this process, and the files must
   * not change while it is there. The metadata goes to a file without a name beside this cache. Only the driver `kernel` can,
   * and only for devices that are regions of local files.
   */
  readonly direct?: Pick<Cache, 'root' | 'writeUnnamed'>
}

/** What is served. */
export interface MountTarget {
  readonly image: ErofsImage
  /** In the order of the image's device table. */
  readonly devices: readonly LayerDevice[]
}

/**
 * Checks that the devices are those of the image, which whoever serves them takes for granted.
 *
 * @throws OcimountError `INTERNAL`
 */
export function checkTarget({ image, devices }: MountTarget): void {
  if (devices.length === image.devices.length) return
  throw new OcimountError(
    'INTERNAL',
    `Cannot serve an image of ${image.devices.length} devices: ${devices.length} were given`,
  )
}

/** Something in the image that a driver cannot show as it is. */
export interface DriverLimit {
  readonly kind: 'hidden-name' | 'unreadable-link' | 'hidden-xattr' | 'time-clamped'
  /** Absolute path in the image. */
  readonly path: ByteString
  readonly detail: string
}

/** A mounted filesystem that this process serves, or with {@link MountFlags.direct} nobody. */
export interface LiveMount {
  /** Canonical. */
  readonly mountpoint: string
  /** `major:minor` of the filesystem at the mount point, for the state of live mounts. */
  readonly device: string
  /** True where nobody serves it. `finished` then tells that it has left the table of mounts. */
  readonly isDirect: boolean
  /**
   * Resolves when the filesystem is gone, by whatever way: `unmount`, somebody's umount(8), the end of the last
   * mount namespace that had a copy, an aborted connection. Until then there may be readers. Never rejects.
   */
  readonly finished: Promise<void>
  /**
   * Detaches the filesystem from the mount point. `finished` follows at once, or with `lazy` when the last file
   * is closed.
   *
   * @throws OcimountError `MOUNT_BUSY`, `NOT_MOUNTED`, `MOUNT_DENIED`, `MOUNT_FAILED`
   */
  unmount(options?: { readonly lazy?: boolean }): Promise<void>
  /** Lists what the driver cannot show, in slices that leave room for serving; an image of text names has nothing. */
  listLimits(): Promise<readonly DriverLimit[]>
}

/** The drivers, best first; `auto` takes the first that works. */
export const DRIVER_NAMES = ['kernel', 'fuse', 'fuse-native'] as const

export type DriverName = 'auto' | (typeof DRIVER_NAMES)[number]

/**
 * Names the drivers to try, best first.
 *
 * @throws OcimountError `USAGE` for a direct mount with a driver that has none
 */
export function candidateDrivers(
  wanted: DriverName,
  isDirect: boolean,
): readonly MountDriver['name'][] {
  const fit: readonly MountDriver['name'][] = isDirect ? ['kernel'] : DRIVER_NAMES
  const candidates = fit.filter((name) => wanted === 'auto' || name === wanted)
  if (candidates.length > 0) return candidates
  throw new OcimountError(
    'USAGE',
    `Cannot mount directly with the driver ${wanted}: only the driver kernel can`,
  )
}

/** One way of mounting. */
export interface MountDriver {
  readonly name: (typeof DRIVER_NAMES)[number]
  /**
   * Checks that the driver can work here with these flags, and gives what mounts with them. Does nothing else.
   *
   * @throws OcimountError `DRIVER_UNAVAILABLE`, `MOUNT_DENIED`; the message says why, and what helps
   */
  prepare(flags: MountFlags): Promise<PreparedDriver>
}

/**
 * Mounts at a canonical path that `checkMountpoint` accepted; returns when it is usable. A failed start leaves nothing
 * behind.
 *
 * @throws OcimountError `DRIVER_UNAVAILABLE` where only the attempt shows that the kernel cannot, `MOUNT_DENIED`,
 *   `MOUNT_FAILED`
 */
export type PreparedDriver = (target: MountTarget, mountpoint: string) => Promise<LiveMount>
