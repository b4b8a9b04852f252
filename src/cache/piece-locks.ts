// What keeps processes from punching out what another one reads: OFD locks on `data`, where byte n stands for piece n.
//
//   shared      held for a piece from before it is checked or made until this process gives it up
//   exclusive   held while the piece is taken from the map and punched out
//
// A piece that is present but unchecked needs no lock: its digest is compared under one before it counts. Who cannot make
// pieces holds all of the file, so that it stays whole (data-parts.ts).

import { messageOf } from '../errors.js'
import { log } from '../logger.js'
import type { NativeBindings } from '../native.js'

/** The locks of one open file. */
export class PieceLocks {
  readonly #native: NativeBindings | undefined
  readonly #fd: number
  #isUseless = false

  /** Without the addon nothing is locked, and nobody here punches holes. */
  constructor(native: NativeBindings | undefined, fd: number) {
    this.#native = native
    this.#fd = fd
  }

  /** Keeps pieces from being punched out by others; false while somebody is at it. */
  share(first: number, count: number): boolean {
    // A filesystem without locks; nobody can punch holes there either.
    return this.#lock('read', first, count) ?? true
  }

  /** Tells whether no other process uses a piece, and keeps it so. */
  claim(piece: number): boolean {
    return this.#lock('write', piece, 1) ?? false
  }

  release(piece: number): void {
    this.#lock('none', piece, 1)
  }

  #lock(kind: 'read' | 'write' | 'none', first: number, count: number): boolean | undefined {
    if (this.#native === undefined || this.#isUseless) return undefined
    try {
      return this.#native.lockFile(this.#fd, kind, first, count)
    } catch (error) {
      this.#isUseless = true
      log.debug({ why: messageOf(error) }, 'could not lock a file of the cache')
      return undefined
    }
  }
}
