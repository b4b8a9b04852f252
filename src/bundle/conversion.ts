// What a conversion is given and what it gives.

import type { ByteString } from '../byte-string.js'
import type { Digest } from '../image/digest.js'
import type { ImageConfig } from '../image/image-config.js'
import type { ImageTree } from './image-tree.js'
import type { BundleOptions, HostFacts } from './options.js'
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
  readonly path: ByteString
  readonly isFile: boolean
  /** A symbolic link in its place, or on the way, is replaced instead of followed. */
  readonly isStrict: boolean
  /** Words for messages, such as `volume` or `working directory`. */
  readonly what: string
  /** Whose the path is: the image's are refused as invalid images, the caller's as usage. */
  readonly origin: 'image' | 'option' | 'profile'
}
