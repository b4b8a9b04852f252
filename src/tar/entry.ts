// What the tar index reader says about one member of an archive.

import type { ByteString } from '../byte-string.js'

/** The kinds of file a layer can hold; `contiguous` and V7 regular files are `file`. */
export type TarEntryType = 'file' | 'directory' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo'

/** A point in time; `seconds` since 1970 may be negative, `nanoseconds` is 0..999999999. */
export interface Timestamp {
  readonly seconds: number
  readonly nanoseconds: number
}

/** A stretch of file content and where its bytes lie in the layer's uncompressed stream. */
export interface DataSegment {
  readonly fileOffset: number
  readonly deviceOffset: number
  readonly length: number
}

/**
 * One member, with PAX, GNU and STAR extensions already applied.
 *
 * Offsets and sizes are exact integers; a header whose numbers are not is refused.
 */
export interface TarEntry {
  /** As the archive gives it; see layer/toc.ts for the cleaned form. */
  readonly path: ByteString
  readonly type: TarEntryType
  /** The twelve permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: Timestamp
  /** Logical size of a `file`; 0 for everything else. */
  readonly size: number
  /** Where the first header block that belongs to this member (PAX, GNU long name) begins. */
  readonly headerOffset: number
  /** Where the content of a `file` begins. */
  readonly dataOffset: number
  /** Target of a `symlink` or `hardlink` as given, else empty. */
  readonly linkTarget: ByteString
  readonly devMajor: number
  readonly devMinor: number
  /** Raw values by full name; undefined where there are none. */
  readonly xattrs: ReadonlyMap<ByteString, Buffer> | undefined
  /** Data segments of a sparse file in ascending order; what they leave out is zeros. */
  readonly sparse: readonly DataSegment[] | undefined
}

/** Something that the reader stepped over and that a person may want to know about. */
export interface TarNote {
  readonly kind: 'global-header' | 'unknown-type' | 'trailing-data' | 'clamped'
  readonly path: ByteString
  readonly detail: string
  readonly headerOffset: number
}
