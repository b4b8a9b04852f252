// An image that is ready to be indexed: documents verified, layers found, nothing of them read.

import type { Digest } from '../image/digest.js'
import type { ImageConfig } from '../image/image-config.js'
import type { Manifest } from '../image/manifest.js'
import type { Platform } from '../image/platform.js'
import type { LayerBlob } from '../layer/layer-blob.js'
import type { ReferrerList, ReferrerOptions } from '../registry/referrers.js'
import type { RegistryActivity } from './file-tree.js'
import type { SourceKind } from './root.js'

export type { Referrer, ReferrerList } from '../registry/referrers.js'

/** One image of one platform. */
export interface Image {
  /** `path` is what the user named. */
  readonly source: { readonly kind: SourceKind; readonly path: string }
  /** The name it was asked for by, else its first; undefined for an untagged one. */
  readonly name: string | undefined
  /** Undefined in a docker-archive without manifests, as are the two below. */
  readonly manifestDigest?: Digest
  readonly manifest?: Manifest
  readonly manifestBytes?: Buffer
  /** The image id. */
  readonly configDigest: Digest
  readonly config: ImageConfig
  readonly configBytes: Buffer
  /** As the config says; `unknown/unknown` where neither config nor index says anything. */
  readonly platform: Platform
  /** Base first, one for each DiffID. */
  readonly layers: readonly LayerBlob[]
  /** Of an image out of a registry: the documents that it takes to find it again. */
  readonly documentDigests?: readonly Digest[]
  /** Lists what refers to this image or to the index it is in; undefined for an image of no registry. */
  readonly referrers: ((options: ReferrerOptions) => Promise<ReferrerList>) | undefined
  /** What was had from a registry so far; undefined for an image that lies here. */
  readonly registry: () => RegistryActivity | undefined
  /** What is odd about the image and does not keep it from being mounted. */
  readonly warnings: readonly string[]
  /**
   * Closes the archive, or the connections to the registry. The layers of files stay good: whoever reads them opens the file again
   * and compares identities. What of a registry's layers is not in the cache cannot be read any more.
   */
  close(): Promise<void>
}
