// What is said of a mount once it is up: to the user, and to those who list mounts later.

import { resolve } from 'node:path'
import { formatPlatform, hostPlatform } from '../image/platform.js'
import type { MountRecord } from '../mount/state.js'
import { nativeUnavailableReason } from '../native.js'
import type { Rootfs } from '../rootfs/build-rootfs.js'
import type { Image } from '../source/image.js'
import type { ImageRequest, MountRequest } from './mount-request.js'

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
  /** The kernel reads the archive itself. */
  readonly direct: boolean
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
  /** Null where no process stays. */
  readonly pid: number | null
}

/** When each part of a mount was done, by `performance.now()`. */
export interface MountTimes {
  readonly begin: number
  readonly opened: number
  readonly indexed: number
  readonly mounted: number
}

/** Says what was mounted, with what the user should know of it. */
export function summariseMount(
  made: {
    readonly id: string
    /** Null where no process stays. */
    readonly pid: number | null
    readonly request: MountRequest
    readonly image: Image
    readonly rootfs: Rootfs
    readonly mount: {
      readonly mountpoint: string
      readonly driver: string
      readonly isDirect: boolean
      readonly isWritable: boolean
    }
    /** What was said before the image was open. */
    readonly warnings: readonly string[]
  },
  times: MountTimes,
): MountSummary {
  const { request, image, mount } = made
  const { info, isVerified } = made.rootfs
  const seconds = (from: number, to: number): number => Math.round((to - from) * 10) / 10_000
  return {
    id: made.id,
    mountpoint: mount.mountpoint,
    image: image.name ?? request.image,
    imageId: image.configDigest,
    platform: formatPlatform(image.platform),
    layers: info.layerIds.length,
    files: info.counts.inodes,
    driver: mount.driver,
    direct: mount.isDirect,
    writable: mount.isWritable,
    verification: isVerified ? 'verified' : 'pending',
    altered: info.readReport().total,
    // What the driver cannot show at all; names and times that it alters are in `status`.
    hidden: mount.driver === 'fuse-native' ? info.counts.notUtf8 : 0,
    warnings: [
      ...made.warnings,
      ...image.warnings,
      ...platformWarning(request, image),
      ...slownessWarning(mount.driver),
      ...layerWarnings(made.rootfs),
    ],
    seconds: seconds(times.begin, times.mounted),
    openSeconds: seconds(times.begin, times.opened),
    indexSeconds: seconds(times.opened, times.indexed),
    mountSeconds: seconds(times.indexed, times.mounted),
    pid: made.pid,
  }
}

/** What `status` says of how it was asked for. */
export function optionsRecord(
  request: Pick<MountRequest, 'driver' | 'verify' | 'suid' | 'dev'>,
): MountRecord['options'] {
  const { driver, verify, suid, dev } = request
  return { driver, verify, suid, dev }
}

/** What `list` and `status` say of the image. */
export function imageRecord(request: ImageRequest, image: Image): MountRecord['image'] {
  const isPath = request.image !== '-' && image.source.kind !== 'registry'
  return {
    reference: request.image,
    // Read by people in other directories. Standard input has no path, nor has a registry.
    source: isPath ? resolve(request.cwd, image.source.path) : image.source.path,
    digest: image.manifestDigest ?? image.configDigest,
    platform: formatPlatform(image.platform),
    ...(image.name === undefined ? {} : { name: image.name }),
  }
}

/** Only the portable driver is asked why: the others need the addon, and a mount on a live one need not load it. */
export function slownessWarning(driver: string | undefined): string[] {
  const why = driver === 'fuse-native' ? nativeUnavailableReason() : undefined
  return why === undefined
    ? []
    : [`the addon is missing (${why}): mounted the portable way, which is slow`]
}

/** What a person should be told of how the layers are had. */
export function layerWarnings({ layers }: Rootfs): string[] {
  return layers.flatMap(({ warning }) => warning ?? [])
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
