// Caps on what an archive may make the reader keep or read. Archives are hostile input; every cap leaves
// room for an order of magnitude more than the largest images known.

/** Caps that a caller may lower or raise. */
export interface TarLimits {
  /** Members that are listed, notes included. */
  readonly maxEntries?: number
  /** Bytes of names, link targets, xattrs and sparse maps that are kept, over all members. */
  readonly maxMetadata?: number
}

/** Large reference images have about 500,000 entries. */
export const DEFAULT_MAX_ENTRIES = 2_000_000

/** 2,000,000 entries with names of 128 bytes. */
export const DEFAULT_MAX_METADATA = 256 * 1024 * 1024

/** Body of one PAX, long name or long link member, and one sparse map; the cap of Go's archive/tar. */
export const MAX_META_BODY = 1024 * 1024

/** What one sparse segment counts towards `maxMetadata`: an object of three numbers. */
export const SEGMENT_COST = 48
