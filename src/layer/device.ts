// A layer as an address space: the uncompressed tar stream, addresses 0..size.

import type { UnstoredPiece, WantedPart } from '../cache/piece-file.js'
import type { FetchStats, FirstPiece, PieceFault } from '../cache/piece-maker.js'
import type { OcimountError } from '../errors.js'
import type { NativeDevice } from '../native.js'

/**
 * Reads a layer's uncompressed bytes.
 *
 * Two kinds exist: a direct region of a local file, and a file of the cache whose pieces are made when they are missed and
 * checked on their first read. Neither ever gives a byte that is known to be wrong.
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
  /** Calls the listener once when the device fails for good, at once where it has. */
  onFailure?(listener: (error: OcimountError) => void): void
  /** Takes note that native code found the bytes unreadable; `what` is for the log. */
  noteFault?(what: string): void
  /**
   * Says how native code gets at the same bytes, for as long as the device is open. `firstLayer` is the number that
   * native code knows the first layer's device by.
   */
  native(firstLayer: number): NativeDevice
  /**
   * Makes pieces readable for native code: makes or checks them and raises their state. Gives those that could not be
   * written to the file, whose state stays low. What is wanted of them at once may be given before. Only of a device of the
   * kind `pieces`.
   *
   * @throws OcimountError as {@link LayerDevice.read}; all other pieces are readable even then
   */
  ensure?(piece: number, count: number, wanted?: WantedPart): Promise<readonly UnstoredPiece[]>
  /** Bytes of the device that the cache holds now; undefined where it need not hold any. */
  presentBytes?(): number
  /** When somebody last had to wait for a piece; of a device that can be filled before anybody asks, as are the next three. */
  readonly lastMissMs?: number
  /** Pieces that are likely to be read first. */
  firstPieces?(): Promise<readonly FirstPiece[]>
  /** From now on makes what is likely to be read next by who reads, where that costs little. */
  followReaders?(): void
  /**
   * Makes pieces that nobody waits for; false where they cannot be kept.
   *
   * @throws OcimountError as {@link LayerDevice.read}
   */
  fill?(piece: number, count: number): Promise<boolean>
  /** What was fetched for it since it was opened; undefined where nothing ever is. */
  fetched?(): FetchStats | undefined
  /** Pieces that could not be made so far. */
  faults?(): readonly PieceFault[]
  /** Releases the file; reading afterwards is an error. */
  close(): Promise<void>
}
