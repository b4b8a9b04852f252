// What a conversion is given and what it gives.

import type { Digest } from '../image/digest.js'
import type { ImageConfig } from '../image/image-config.js'
import type { ImageTree } from './image-tree.js'
import type { BundleOptions, HostFacts } from './options.js'
import type { Origin } from './origin.js'
import type { RuntimeConfig } from './runtime-config.js'

/** The parts of an image that a conversion needs; every `Image` of the sources has them. */
export interface ConvertibleImage {
  readonly config: ImageConfig
  readonly configDigest: Digest
}

export interface ConversionInput {
  readonly image: ConvertibleImage
  /** The merged tree of the same image, without any generated layer. */
  readonly tree: ImageTree
  readonly options: BundleOptions
  readonly host: HostFacts
}

export interface Conversion {
  readonly config: RuntimeConfig
  /** One line each, names in them escaped; in a fixed order. */
  readonly warnings: readonly string[]
  /** Files to be written into the bundle beside `config.json`, which mounts it by relative paths. */
  readonly files: readonly BundleFile[]
  /** Where the runtime needs a directory or file to be in the rootfs; see mount-points.ts. */
  readonly mountPoints: readonly MountPoint[]
}

export interface BundleFile {
  /** A plain name. */
  readonly name: string
  readonly content: string
}

export interface MountPoint {
  /** Absolute and clean. */
  readonly path: string
  readonly isFile: boolean
  /** How strictly it is looked at; see mount-points.ts. */
  readonly role: MountPointRole
  readonly origin: Origin
}

/**
 * - `runtime`: `/proc`, `/sys`, `/dev`
 * - `profile`: another directory that the profile mounts something at
 * - `etc`: a file of /etc that something is mounted over
 * - `etc-spare`: one that nothing is mounted over, but another tool may want to
 * - `volume`: of the image
 * - `mount`: of the caller
 * - `cwd`: the working directory
 */
export type MountPointRole =
  'runtime' | 'profile' | 'etc' | 'etc-spare' | 'volume' | 'mount' | 'cwd'
