// What a process knows of the pieces of one open file, a byte each; the addon's threads read it too, and lower a piece to
// unchecked where the file turns out to be cut:
//
//   0 absent ──made──▶ checked        1 present, unchecked ──digest right──▶ checked ──the file changed──▶ 1
//   0 ◀──digest wrong, evicted── any
//
// A reader compares the byte before and after it took the bytes. Who evicts waits for readers besides (piece-use.ts), lest a
// piece that went and came back in between looks as if it had stayed.

const ABSENT = 0
const UNCHECKED = 1
const CHECKED = 2

/** The states of a device's pieces. */
export class PieceStates {
  /** Shared with native threads. */
  readonly bytes: Uint8Array
  #epoch = 0

  constructor(count: number, isPresent: (piece: number) => boolean) {
    this.bytes = new Uint8Array(count)
    for (let piece = 0; piece < count; piece++) {
      if (isPresent(piece)) this.bytes[piece] = UNCHECKED
    }
  }

  /** Another number after each {@link uncheckAll}: what was read before it proves nothing after it. */
  get epoch(): number {
    return this.#epoch
  }

  get(piece: number): number {
    return Atomics.load(this.bytes, piece)
  }

  isAbsent(piece: number): boolean {
    return this.get(piece) === ABSENT
  }

  isChecked(piece: number): boolean {
    return this.get(piece) >= CHECKED
  }

  setChecked(piece: number): void {
    Atomics.store(this.bytes, piece, CHECKED)
  }

  setUnchecked(piece: number): void {
    Atomics.store(this.bytes, piece, UNCHECKED)
  }

  setAbsent(piece: number): void {
    Atomics.store(this.bytes, piece, ABSENT)
  }

  /** Has every piece checked anew. */
  uncheckAll(): void {
    this.#epoch++
    for (let piece = 0; piece < this.bytes.length; piece++) {
      if (this.isChecked(piece)) this.setUnchecked(piece)
    }
  }

  /** Pieces that are in the file. */
  presentCount(): number {
    return this.bytes.reduce((count, state) => count + (state === ABSENT ? 0 : 1), 0)
  }
}
