// What was dropped, replaced or repaired between the tar entries and the tree. Nothing of that is silent
// (DESIGN section 6), but a hostile image must not fill the memory with remarks about itself either.

import type { ByteString } from '../byte-string.js'

/** One remark. */
export interface ReportEntry {
  /** One of {@link ReportKind}, or the kind of a note that the layer's own reader left. */
  readonly kind: string
  /** 0-based from the base. */
  readonly layer: number
  /** Path in the image; the first one where a remark stands for several. */
  readonly path: ByteString
  /** Words for a person; names in it are escaped. */
  readonly detail: string
}

export interface Report {
  /** In layer order, then in the order in which things came up; at most {@link MAX_REPORT_ENTRIES}. */
  readonly entries: readonly ReportEntry[]
  /** How many there were before the list was cut. */
  readonly total: number
}

/**
 * What the union has to say.
 *
 * - `parent-replaced`: something that is no directory stood where an entry needs one (B-059)
 * - `duplicate`: the layer has a second entry for this name, which replaced the first (B-036)
 * - `hard-link-metadata`: a link's header disagrees with its target, whose metadata counts (B-065)
 * - `hard-link-to-itself`: left as it was (B-035)
 * - `hard-link-to-hidden`: the target is hidden by a whiteout of the same layer; the content is kept
 * - `xattr-dropped`: an attribute that is not for this mount, or that EROFS cannot hold (B-009, B-010)
 * - `aufs-metadata`: a `.wh..wh.` name of the root other than the opaque marker (B-085)
 * - `overlay-whiteout`: a character device 0:0, which overlayfs would take for a whiteout (B-092)
 */
export type ReportKind =
  | 'parent-replaced'
  | 'duplicate'
  | 'hard-link-metadata'
  | 'hard-link-to-itself'
  | 'hard-link-to-hidden'
  | 'xattr-dropped'
  | 'aufs-metadata'
  | 'overlay-whiteout'

/** More than anyone reads; some megabytes when every path is long. */
export const MAX_REPORT_ENTRIES = 5000

/** Collects remarks up to the cap and counts the rest. */
export class ReportBuilder {
  private readonly entries: ReportEntry[] = []
  private total = 0

  add(kind: ReportKind, layer: number, path: ByteString, detail: string): void {
    this.addEntry({ kind, layer, path, detail })
  }

  addEntry(entry: ReportEntry): void {
    this.total++
    if (this.entries.length < MAX_REPORT_ENTRIES) this.entries.push(entry)
  }

  build(): Report {
    return { entries: this.entries, total: this.total }
  }
}
