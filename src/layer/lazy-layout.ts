// How a device is made of the files that a table of contents lists: in order, each aligned to 512, holes of a file left out. It is
// laid out by lazy-toc.ts, and where the table is as its writers write it, by the addon (native-bindings/src/lazy_table.h).
//
// A large file has its pieces for itself. eStargz has chunks of 4 MiB, of which the end of one and the beginning of another would
// otherwise have to be fetched for whatever lies beside the file. The pieces that `import numpy` of Debian reads take 26.7 MB of an
// eStargz blob in place of 36.8, and 24.6 in place of 26.4 of zstd:chunked; its chunks alone would be 16.1 and 9.7 MB.

import type { ByteString } from '../byte-string.js'
import { PIECE_SIZE } from '../cache/piece-map.js'
import type { DecompressibleKind } from '../compression/detect.js'
import type { Digest } from '../image/digest.js'
import type { TarEntry } from '../tar/entry.js'

/**
 * The version of the way in which a device is made of a table, which is a part of the layer's id. To be raised with any change of
 * where bytes lie in the device.
 */
export const LAZY_LAYOUT = 2
/** What EROFS wants content to begin at. */
export const ALIGNMENT = 512
/** A file of so many bytes has its pieces for itself: half a piece, so that a layer of such files has a device of twice its size. */
export const LARGE = PIECE_SIZE / 2
/** A record each, and a place in memory while the table is read. */
export const MAX_CHUNKS = 4_000_000
/** Where the files end that the maker of an eStargz layer saw being read first (checklist F-019). */
export const LANDMARK = '.prefetch.landmark' as ByteString

/** What is known of the blob besides its table of contents. */
export interface LazyBlob {
  readonly compression: DecompressibleKind
  readonly digest: Digest
  readonly size: number
  /** Content lies before this. */
  readonly contentEnd: number
}

/** A file of the layer that its table of contents does not list: that table itself. */
export interface UnlistedFile {
  readonly entry: Pick<TarEntry, 'path' | 'size'>
  readonly compressedOffset: number
  readonly innerOffset: number
  /** In hex digits. */
  readonly sha256: string
}
