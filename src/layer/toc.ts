// The ordered table of contents of one layer: what the tar says, in the tar's order, with cleaned paths and
// whiteouts told apart. The union (rootfs/) applies it; the file format is in toc-file.ts.

import type { ByteString } from '../byte-string.js'
import type { TarEntry, TarEntryType } from '../tar/entry.js'

/** A tar member, or a whiteout of the name or directory in `path` (image-spec layer.md "Whiteouts"). */
export type TocEntryType = TarEntryType | 'whiteout' | 'opaque'

/**
 * One entry in order.
 *
 * `path` is cleaned: no leading, trailing or doubled slash, no `.` part, never `..`; the root is the empty
 * string. For a `whiteout` it is the path that is hidden, for `opaque` the directory whose lower children
 * are hidden. The `linkTarget` of a `hardlink` is cleaned in the same way, that of a symlink is verbatim.
 */
export interface TocEntry extends Omit<TarEntry, 'type'> {
  readonly type: TocEntryType
}

/** Something in a layer that was ignored, replaced or repaired on the way in. */
export interface TocNote {
  readonly kind: string
  readonly path: ByteString
  readonly detail: string
}

export interface Toc {
  readonly entries: readonly TocEntry[]
  readonly notes: readonly TocNote[]
  /** Length of the uncompressed stream, trailing bytes included. */
  readonly deviceSize: number
}
