// What a source names: the entries of index.json, the items of a docker manifest.json, the one image of a dir:.

import type { Descriptor } from '../image/descriptor.js'
import type { DockerArchiveItem } from '../image/docker-archive.js'

/** How a source keeps its images. */
export type SourceKind = 'oci' | 'oci-archive' | 'docker-archive' | 'dir' | 'registry'

/** One named or unnamed thing to choose from; exactly one of `descriptor` and `item` is there. */
export interface Root {
  /** Full names as a person knows them. */
  readonly names: readonly string[]
  /** Further spellings that a `--ref` may use, such as the bare tag in `org.opencontainers.image.ref.name`. */
  readonly aliases: readonly string[]
  /** The numbers N that `@N` may use for it, the one to show first. */
  readonly positions: readonly number[]
  readonly descriptor: Descriptor | undefined
  /** A docker-archive's description of an image that no manifest describes. */
  readonly item: DockerArchiveItem | undefined
}
