// Who reads the pieces of one file, and which of them were used: a block of memory that the addon's threads write as well.
// Its layout, and why waiting takes two rounds, is in native-bindings/src/piece_use.h.

import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'

const HEADER_SIZE = 64
const EPOCH = 0
const READERS = 1
const PAUSE_MS = 1

/** The readers and the marks of use of one file. */
export class PieceUse {
  /** Shared with native threads. */
  readonly bytes: Uint8Array
  readonly #words: Int32Array

  constructor(pieceCount: number) {
    const memory = new ArrayBuffer(HEADER_SIZE + pieceCount)
    this.bytes = new Uint8Array(memory)
    this.#words = new Int32Array(memory, 0, HEADER_SIZE / Int32Array.BYTES_PER_ELEMENT)
  }

  /** Begins a read, before its first look at a state; what comes back goes to {@link leave}. */
  enter(): number {
    const counter = READERS + (Atomics.load(this.#words, EPOCH) & 1)
    Atomics.add(this.#words, counter, 1)
    return counter
  }

  /** Ends a read: the bytes are taken. */
  leave(counter: number): void {
    Atomics.sub(this.#words, counter, 1)
  }

  /** Notes that a piece was used. */
  touch(piece: number): void {
    Atomics.store(this.bytes, HEADER_SIZE + piece, 1)
  }

  /** Tells whether a piece was used since this was last asked. */
  takeMark(piece: number): boolean {
    const at = HEADER_SIZE + piece
    return Atomics.load(this.bytes, at) !== 0 && Atomics.exchange(this.bytes, at, 0) !== 0
  }

  /** Waits until every read has ended that may have seen a state as it was before this call. */
  async settle(): Promise<void> {
    for (let round = 0; round < 2; round++) {
      const counter = READERS + (Atomics.add(this.#words, EPOCH, 1) & 1)
      await nextTurn()
      while (Atomics.load(this.#words, counter) !== 0) await sleep(PAUSE_MS)
    }
  }
}
