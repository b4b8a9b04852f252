// Which mount points a tree lacks, as one layer of directories and empty files on top of it (checklist C-081 to C-083).

import type { ByteString } from '../byte-string.js'
import type { StackedLayer } from '../rootfs/apply-layers.js'
import type { MountPoint } from './conversion.js'
import type { ImageTree } from './image-tree.js'

/** A directory of mode 0755 or an empty file of mode 0644, owned by root. */
export interface GeneratedEntry {
  /** Relative to the root, without symbolic links. */
  readonly path: ByteString
  readonly isFile: boolean
}

export interface MountPointPlan {
  /** Parents before what is in them. */
  readonly entries: readonly GeneratedEntry[]
  /** One line for each thing of the image that an entry replaces. */
  readonly replaced: readonly string[]
}

/**
 * Gives what has to be added to a tree so that every mount point is there, and real where it has to be.
 *
 * @throws OcimountError `IMAGE_INVALID` or `USAGE`, as the mount point's origin says, for one that leads below `/proc`,
 *   `/sys` or `/dev`, or to something that can be no mount point
 */
export declare function planMountPoints(
  tree: ImageTree,
  points: readonly MountPoint[],
): MountPointPlan

/**
 * Makes the layer that holds the entries, named `generated:<digest of them>`, or undefined where there are none.
 *
 * It has no bytes: its device is of size 0.
 */
export declare function generatedLayer(plan: MountPointPlan): StackedLayer | undefined
