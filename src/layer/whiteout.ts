// Whiteout names (image-spec layer.md "Whiteouts", checklist B-070 to B-087).
//
//   .wh.NAME        hides NAME of lower layers
//   .wh..wh..opq    hides all lower children of its directory
//   .wh..wh.OTHER   bookkeeping of aufs when in the root; below it, a whiteout of a name that cannot exist

import { escapeName, type ByteString } from '../byte-string.js'
import { OcimountError } from '../errors.js'

/** What a base name asks for; `name` is what is hidden. */
export type Whiteout =
  { readonly kind: 'whiteout'; readonly name: ByteString } | { readonly kind: 'opaque' }

/** Prefix of a whiteout. No file of an image can be called so. */
export const WHITEOUT_PREFIX = '.wh.'

/** Base name that makes its directory opaque. */
export const OPAQUE_NAME = '.wh..wh..opq'

/** Prefix of the bookkeeping of aufs in the root of old layers. */
export const AUFS_PREFIX = '.wh..wh.'

/** Directory of aufs that holds the bodies of hard-linked files. */
export const AUFS_LINKS = '.wh..wh.plnk'

/**
 * Reads a base name; undefined means an ordinary one.
 *
 * The entry's type plays no part: tools write whiteouts as empty files, but also as links and directories.
 *
 * @throws OcimountError `LAYER_CORRUPT` for a whiteout of nothing, of `.` or of `..`, which a naive reader would
 *   take for one of the directory itself or of its parent
 */
export function parseWhiteout(baseName: ByteString): Whiteout | undefined {
  if (!baseName.startsWith(WHITEOUT_PREFIX)) return undefined
  if (baseName === OPAQUE_NAME) return { kind: 'opaque' }
  const name = baseName.slice(WHITEOUT_PREFIX.length) as ByteString
  if (name === '' || name === '.' || name === '..') {
    throw new OcimountError(
      'LAYER_CORRUPT',
      `Cannot use whiteout "${escapeName(baseName)}": it names no file`,
    )
  }
  return { kind: 'whiteout', name }
}
