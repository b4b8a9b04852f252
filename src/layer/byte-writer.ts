// Grows a byte string of unsigned and signed integers of variable length, and of counted bytes.
//
//   unsigned   7 bits per byte, low bits first, top bit set on all bytes but the last (LEB128); up to 2^53 - 1
//   signed     the same, but the first byte holds 6 bits and, as bit 0, the sign
//   bytes      their number, unsigned, then themselves

import type { ByteString } from '../byte-string.js'

/** Bytes of one part of the result; parts are not joined, so that nothing large is copied. */
const PART_SIZE = 1024 * 1024
/** The longest integer: 53 bits in groups of 7. */
const MAX_INTEGER_BYTES = 8

/** Writes what {@link ByteReader} reads. */
export class ByteWriter {
  readonly #parts: Buffer[] = []
  #part = Buffer.allocUnsafe(PART_SIZE)
  #at = 0

  /** Writes one byte. */
  byte(value: number): void {
    this.#room(1)
    this.#part[this.#at++] = value
  }

  /** Writes an integer from 0 to 2^53 - 1. */
  unsigned(value: number): void {
    this.#room(MAX_INTEGER_BYTES)
    this.#groups(value)
  }

  /** Writes an integer of at most 2^53 - 1 either way. */
  signed(value: number): void {
    this.#room(MAX_INTEGER_BYTES)
    const magnitude = Math.abs(value)
    const first = ((magnitude % 64) << 1) | (value < 0 ? 1 : 0)
    const rest = Math.floor(magnitude / 64)
    this.#part[this.#at++] = rest === 0 ? first : first | 0x80
    if (rest > 0) this.#groups(rest)
  }

  /** Writes a counted string of bytes. */
  string(value: ByteString): void {
    this.unsigned(value.length)
    this.rawString(value)
  }

  /** Writes the bytes of a string whose length the reader knows otherwise. */
  rawString(value: string): void {
    this.#room(value.length)
    this.#at += this.#part.write(value, this.#at, 'latin1')
  }

  /** Writes counted bytes. */
  bytes(value: Uint8Array): void {
    this.unsigned(value.length)
    this.#room(value.length)
    this.#part.set(value, this.#at)
    this.#at += value.length
  }

  /** Gives all that was written, in order; the writer is of no further use. */
  finish(): Buffer[] {
    return [...this.#parts, this.#part.subarray(0, this.#at)]
  }

  #groups(value: number): void {
    while (value >= 0x80) {
      this.#part[this.#at++] = (value % 0x80) | 0x80
      value = Math.floor(value / 0x80)
    }
    this.#part[this.#at++] = value
  }

  #room(length: number): void {
    if (this.#at + length <= this.#part.length) return
    this.#parts.push(this.#part.subarray(0, this.#at))
    this.#part = Buffer.allocUnsafe(Math.max(PART_SIZE, length))
    this.#at = 0
  }
}
