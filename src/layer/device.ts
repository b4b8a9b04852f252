// A layer as an address space: the uncompressed tar stream, addresses 0..size.

import type { OcimountError } from '../errors.js'

/**
 * Reads a layer's uncompressed bytes.
 *
 * Two kinds exist: a direct region of a local file, and a file of the cache whose pieces are checked on
 * their first read. Neither ever gives a byte that is known to be wrong.
 */
export interface LayerDevice {
  /** Bytes in the address space. */
  readonly size: number
  /**
   * Fills the whole of `target` from `deviceOffset` on. May be called concurrently.
   *
   * @throws OcimountError `SOURCE_CHANGED` when the file behind the device changed or ended early,
   *   `CACHE_CORRUPT` when a cached piece has the wrong digest, `DIGEST_MISMATCH` after a failed
   *   background verification, `STORAGE_FAILED` when the disk says no. All of them are EIO to a mount.
   */
  read(target: Buffer, deviceOffset: number): Promise<void>
  /**
   * Makes this and every later read fail; what a direct device is told when hashing finds its bytes wrong. A
   * device whose bytes are checked as they are read has no need of it.
   */
  fail?(error: OcimountError): void
  /** Releases the file; reading afterwards is an error. */
  close(): Promise<void>
}
