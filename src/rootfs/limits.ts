// How far the union follows an image. Every bound is far above what a real image needs and far below what
// exhausts the machine.

import { escapeName, type ByteString } from '../byte-string.js'
import { OcimountError } from '../errors.js'

export interface RootfsLimits {
  /** Tar entries of all layers together. */
  readonly maxEntries: number
  /** Inodes made, those included that a later entry replaced. */
  readonly maxInodes: number
  /** Directories between the root and a name. */
  readonly maxDepth: number
  /** Parts of symbolic links' targets that are walked while parents are looked for, over a whole stack. */
  readonly maxLinkParts: number
}

export const DEFAULT_ROOTFS_LIMITS: RootfsLimits = {
  // The largest images in use have some 500,000.
  maxEntries: 8_000_000,
  // An entry can imply a directory per two bytes of its path, so entries alone bound nothing.
  maxInodes: 4_000_000,
  // One path reaches 2048, symbolic links lead further down; no tool opens what lies deeper.
  maxDepth: 4096,
  // Linked parents are rare; 40 links of 2,000 parts for every entry would keep a processor busy for days.
  maxLinkParts: 20_000_000,
}

/** The kernel's MAXSYMLINKS: how many links one path may go through. */
export const MAX_SYMLINKS = 40
/** The kernel's PATH_MAX, terminating NUL included. */
export const MAX_PATH = 4096
/** The kernel's NAME_MAX. */
export const MAX_NAME = 255

/** Makes the error for an entry that cannot be applied, whatever the rest of its layer says. */
export function entryError(layer: number, path: ByteString, why: string): OcimountError {
  return new OcimountError(
    'TAR_CORRUPT',
    `Cannot apply entry "${escapeName(path)}" of layer ${layer}: ${why}`,
    { details: { layer, path: escapeName(path) } },
  )
}

/** Makes the error for a stack of layers that asks for more than a limit allows. */
export function limitError(what: string, limit: number): OcimountError {
  return new OcimountError(
    'LIMIT_EXCEEDED',
    `Cannot apply the layers: they need more than ${limit} ${what}`,
    { details: { limit } },
  )
}
