// A plain layer in a local file is its own device. States: open ──fail() or a change of the file──▶ failed for good;
// either ──close()──▶ closed. (The device of a compressed layer is a DataFile of the cache.)

import { fstatSync, type BigIntStats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'

import { OcimountError } from '../errors.js'
import type { NativeDevice } from '../native.js'
import { openRegion, readFailed, sourceChanged } from './blob-file.js'
import type { LayerDevice } from './device.js'
import type { FileRegion } from './layer-blob.js'

/** Serves a region of a file, as long as the file stays what it was. */
export class DirectDevice implements LayerDevice {
  readonly size: number
  readonly #region: FileRegion
  readonly #handle: FileHandle
  readonly #mtimeNs: bigint
  readonly #ctimeNs: bigint
  readonly #fileSize: bigint
  readonly #listeners: ((error: OcimountError) => void)[] = []
  #failure: OcimountError | undefined
  #isClosed = false

  private constructor(region: FileRegion, handle: FileHandle) {
    this.size = region.length
    this.#region = region
    this.#handle = handle
    this.#mtimeNs = BigInt(region.identity.mtimeNs)
    this.#ctimeNs = BigInt(region.identity.ctimeNs)
    this.#fileSize = BigInt(region.identity.size)
  }

  /**
   * Opens the file.
   *
   * @throws OcimountError `SOURCE_CHANGED`, `STORAGE_FAILED`
   */
  static async open(region: FileRegion): Promise<DirectDevice> {
    return new DirectDevice(region, await openRegion(region))
  }

  /** Where in which file the device's bytes are. */
  get region(): FileRegion {
    return this.#region
  }

  /** The failure that all reads answer with; undefined while there is none. */
  get failure(): OcimountError | undefined {
    return this.#failure
  }

  /** Makes this and every later read fail; the first error given stays. */
  fail(error: OcimountError): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    for (const listener of this.#listeners) listener(error)
  }

  onFailure(listener: (error: OcimountError) => void): void {
    if (this.#failure === undefined) this.#listeners.push(listener)
    else listener(this.#failure)
  }

  noteFault(): void {
    this.fail(sourceChanged(this.#region.path))
  }

  native(): NativeDevice {
    return {
      kind: 'region',
      size: this.size,
      fd: this.#handle.fd,
      offset: this.#region.offset,
      fileSize: Number(this.#fileSize),
      mtimeNs: this.#mtimeNs,
      ctimeNs: this.#ctimeNs,
    }
  }

  async read(target: Buffer, deviceOffset: number): Promise<void> {
    this.#check(target.length, deviceOffset)
    let done = 0
    while (done < target.length) {
      const bytesRead = await this.#readSome(target, done, deviceOffset + done)
      if (bytesRead === 0) this.fail(sourceChanged(this.#region.path))
      // Compared after the bytes were taken: a change that came before them cannot go unseen.
      if (!this.#isUnchanged()) this.fail(sourceChanged(this.#region.path))
      if (this.#failure !== undefined) throw this.#failure
      done += bytesRead
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#handle.close()
  }

  async #readSome(target: Buffer, done: number, deviceOffset: number): Promise<number> {
    const position = this.#region.offset + deviceOffset
    try {
      const length = target.length - done
      const { bytesRead } = await this.#handle.read(target, done, length, position)
      return bytesRead
    } catch (error) {
      throw this.#isClosed ? closed() : readFailed(this.#region.path, error)
    }
  }

  #isUnchanged(): boolean {
    if (this.#isClosed) throw closed()
    // Synchronous: an fstat of an open file is a microsecond, going through the thread pool is thirty.
    const now: BigIntStats = fstatSync(this.#handle.fd, { bigint: true })
    return (
      now.size === this.#fileSize && now.mtimeNs === this.#mtimeNs && now.ctimeNs === this.#ctimeNs
    )
  }

  #check(length: number, deviceOffset: number): void {
    if (this.#isClosed) throw closed()
    if (this.#failure !== undefined) throw this.#failure
    if (
      !Number.isSafeInteger(deviceOffset) ||
      deviceOffset < 0 ||
      deviceOffset + length > this.size
    ) {
      throw new OcimountError(
        'INTERNAL',
        `Cannot read ${length} bytes at device offset ${deviceOffset}: the device ends at ${this.size}`,
      )
    }
  }
}

function closed(): OcimountError {
  return new OcimountError('INTERNAL', 'Cannot read a layer: its device is closed')
}
