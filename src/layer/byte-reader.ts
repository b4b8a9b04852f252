// Reads what byte-writer.ts writes, from bytes that may be forged: no read goes beyond the end, no number
// comes out inexact, and no length is believed before the bytes are there.

import type { ByteString } from '../byte-string.js'
import { OcimountError } from '../errors.js'

/** Reads from front to back; every method throws `CACHE_CORRUPT` where the bytes do not have what is asked for. */
export class ByteReader {
  readonly #bytes: Buffer
  readonly #what: string
  #at = 0

  constructor(bytes: Buffer, what: string) {
    this.#bytes = bytes
    this.#what = what
  }

  /** Bytes that are left. */
  get remaining(): number {
    return this.#bytes.length - this.#at
  }

  /** Reads one byte. */
  byte(): number {
    const value = this.#bytes[this.#at++]
    if (value === undefined) throw this.corrupt('it ends early')
    return value
  }

  /** Reads an integer from 0 to 2^53 - 1. */
  unsigned(): number {
    const first = this.byte()
    return first < 0x80 ? first : first - 0x80 + this.#groups(0x80)
  }

  /** Reads an integer of at most 2^53 - 1 either way. */
  signed(): number {
    const first = this.byte()
    let magnitude = (first & 0x7f) >> 1
    if (first >= 0x80) magnitude += this.#groups(0x40)
    // Not -0, which is another value than 0 to a strict comparison.
    return (first & 1) !== 0 && magnitude > 0 ? -magnitude : magnitude
  }

  /** Reads a counted string of bytes. */
  string(): ByteString {
    return this.rawString(this.unsigned())
  }

  /** Reads that many bytes as a string. */
  rawString(length: number): ByteString {
    const start = this.#skip(length)
    return this.#bytes.toString('latin1', start, start + length) as ByteString
  }

  /** Reads counted bytes as a copy, so that they do not keep the whole file in memory. */
  bytes(): Buffer {
    const length = this.unsigned()
    const start = this.#skip(length)
    return Buffer.from(this.#bytes.subarray(start, start + length))
  }

  /** Copies that many bytes to `target` at `offset`, which has room for them. */
  copyTo(target: Buffer, offset: number, length: number): void {
    const start = this.#skip(length)
    this.#bytes.copy(target, offset, start, start + length)
  }

  /** Reads a count of items that take at least `minSize` bytes each. */
  count(minSize: number): number {
    const count = this.unsigned()
    if (count > this.remaining / minSize) throw this.corrupt('it ends early')
    return count
  }

  /** Makes the error for bytes that make no sense. */
  corrupt(why: string): OcimountError {
    return new OcimountError('CACHE_CORRUPT', `Cannot read ${this.#what}: ${why}`)
  }

  #groups(scale: number): number {
    let value = 0
    for (;;) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (value > Number.MAX_SAFE_INTEGER) throw this.corrupt('a number is too large')
      if (byte < 0x80) return value
      scale *= 0x80
      if (scale > Number.MAX_SAFE_INTEGER) throw this.corrupt('a number is too long')
    }
  }

  #skip(length: number): number {
    const start = this.#at
    if (length > this.remaining) throw this.corrupt('it ends early')
    this.#at += length
    return start
  }
}
