// From chunks of any length to pieces of a length known in advance: one that lies whole in a chunk is handed out in
// place, one that does not is gathered in a scratch buffer first.

import { OcimountError } from '../errors.js'
import { viewOf } from './header.js'

/** Takes a piece; it begins at `bytes[at]` and is there only during the call. `view` is another view of all of `bytes`. */
export type TakePiece = (bytes: Buffer, at: number, view: DataView) => void

/** Always wants one piece at one device offset, until told to stop. */
export class PieceReader {
  readonly #take: TakePiece
  #pieceOffset = 0
  #wanted = 0
  #scratch = Buffer.alloc(0)
  #scratchView = viewOf(this.#scratch)
  #gathered = 0
  #isStopped = false

  constructor(take: TakePiece) {
    this.#take = take
  }

  /** Device offset of the piece that is wanted or, during a call of `take`, taken. */
  get pieceOffset(): number {
    return this.#pieceOffset
  }

  /** Device offset of the next byte that is needed. */
  get nextOffset(): number {
    return this.#pieceOffset + this.#gathered
  }

  /** A part of the piece was seen. */
  get isMidPiece(): boolean {
    return this.#gathered > 0
  }

  /** Sets the next piece; its length must not be 0. */
  want(deviceOffset: number, length: number): void {
    this.#pieceOffset = deviceOffset
    this.#wanted = length
  }

  /** Ends with everything before `deviceOffset` taken. */
  stop(deviceOffset: number): void {
    this.want(deviceOffset, 0)
    this.#isStopped = true
  }

  /**
   * Takes a chunk, which must not begin behind `nextOffset`; what is not needed of it is ignored.
   *
   * @throws OcimountError `INTERNAL` when bytes were left out
   */
  write(chunk: Uint8Array, deviceOffset: number): void {
    const bytes = Buffer.isBuffer(chunk)
      ? chunk
      : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const view = viewOf(bytes)
    while (!this.#isStopped) {
      const at = this.nextOffset - deviceOffset
      if (at < 0) throw this.missing(deviceOffset)
      if (at >= bytes.length) return
      if (this.#gathered === 0 && bytes.length - at >= this.#wanted) this.#take(bytes, at, view)
      else this.#gather(bytes, at)
    }
  }

  /** Makes the error for a caller who went on to `deviceOffset` without what is wanted. */
  missing(deviceOffset: number): OcimountError {
    const why = `the bytes at device offset ${this.nextOffset} were not given`
    return new OcimountError('INTERNAL', `Cannot read tar at device offset ${deviceOffset}: ${why}`)
  }

  #gather(bytes: Buffer, at: number): void {
    const length = Math.min(bytes.length - at, this.#wanted - this.#gathered)
    if (this.#scratch.length < this.#wanted) {
      const larger = Buffer.allocUnsafe(this.#wanted)
      this.#scratch.copy(larger, 0, 0, this.#gathered)
      this.#scratch = larger
      this.#scratchView = viewOf(larger)
    }
    bytes.copy(this.#scratch, this.#gathered, at, at + length)
    this.#gathered += length
    if (this.#gathered < this.#wanted) return
    this.#gathered = 0
    this.#take(this.#scratch, 0, this.#scratchView)
  }
}
