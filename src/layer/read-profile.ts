// Which pieces of a lazy layer are read in the first seconds of a mount, kept for the next one, which fetches them before anybody
// asks: the payload of `profile` in the layer's directory. All numbers little-endian.
//
//    0  8  "OCIMPROF"     8  4  version, 2     12     of each in the order in which they were missed
//                                                           0  4  number of the piece    4  4  milliseconds after the mount

import type { Cache } from '../cache/cache.js'
import type { FirstPiece } from '../cache/piece-maker.js'
import { log } from '../logger.js'
import { storeIfPossible } from './layer-store.js'

const MAGIC = 'OCIMPROF'
const VERSION = 2
const HEADER_SIZE = 12
const RECORD_SIZE = 8
/** After the mount. */
const RECORDED_MS = 20_000
/** Of one layer: 4 GiB of it. */
const MAX_PIECES = 4096
/** Of many runs, one behind the other. */
const MAX_MS = 0xffff_ffff

/** Records what is read of one open layer. */
export class ReadProfile {
  readonly #layerId: string
  readonly #cache: Cache
  readonly #sinceMs = performance.now()
  /** When each was missed. */
  readonly #noted = new Map<number, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(layerId: string, cache: Cache) {
    this.#layerId = layerId
    this.#cache = cache
  }

  /** Takes note of pieces that somebody waits for, or would have. */
  note(first: number, count: number): void {
    const atMs = Math.floor(performance.now() - this.#sinceMs)
    if (atMs > RECORDED_MS) return
    for (let piece = first; piece < first + count; piece++) {
      if (this.#noted.has(piece) || this.#noted.size === MAX_PIECES) continue
      this.#noted.set(piece, atMs)
    }
    this.#timer ??= setTimeout(() => void this.save(), RECORDED_MS).unref()
  }

  /** Gives what was read first in earlier runs; nothing where that cannot be used. */
  async load(): Promise<readonly FirstPiece[]> {
    const path = this.#cache.profilePath(this.#layerId)
    const payload = await this.#cache.readSealed(path)
    if (payload === undefined) return []
    const length = payload.length - HEADER_SIZE
    const count = length / RECORD_SIZE
    const isKnown = payload.toString('latin1', 0, 8) === MAGIC && count >= 0
    if (!isKnown || payload.readUInt32LE(8) !== VERSION || count > MAX_PIECES || count % 1 !== 0) {
      log.info({ path }, 'ignored a profile that cannot be used')
      return []
    }
    return Array.from({ length: count }, (_, number) => {
      const at = HEADER_SIZE + number * RECORD_SIZE
      return { piece: payload.readUInt32LE(at), atMs: payload.readUInt32LE(at + 4) }
    })
  }

  /** Keeps what was noted. What earlier runs waited for stays in front: fetched in time, it was not missed again. */
  async save(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const noted = [...this.#noted]
    this.#noted.clear()
    if (noted.length === 0) return
    await storeIfPossible('a profile', async () => {
      const pieces = new Map((await this.load()).map(({ piece, atMs }) => [piece, atMs]))
      const sinceMs = Math.max(0, ...pieces.values())
      const known = pieces.size
      for (const [piece, atMs] of noted) {
        if (!pieces.has(piece) && pieces.size < MAX_PIECES) pieces.set(piece, sinceMs + atMs)
      }
      if (pieces.size === known) return
      const payload = Buffer.alloc(HEADER_SIZE + pieces.size * RECORD_SIZE)
      payload.write(MAGIC, 'latin1')
      payload.writeUInt32LE(VERSION, 8)
      let at = HEADER_SIZE
      for (const [piece, atMs] of pieces) {
        payload.writeUInt32LE(piece, at)
        payload.writeUInt32LE(Math.min(atMs, MAX_MS), at + 4)
        at += RECORD_SIZE
      }
      await this.#cache.writeSealed(this.#cache.profilePath(this.#layerId), [payload])
    })
  }
}
