// Which pieces of a lazy layer are read in the first seconds of a mount, kept for the next one, which fetches them before anybody
// asks: the payload of `profile` in the layer's directory. All numbers little-endian.
//
//    0  8  "OCIMPROF"     8  4  version, 1     12     numbers of pieces, 4 bytes each, in the order in which they were missed

import type { Cache } from '../cache/cache.js'
import { log } from '../logger.js'
import { storeIfPossible } from './layer-store.js'

const MAGIC = 'OCIMPROF'
const VERSION = 1
const HEADER_SIZE = 12
/** After the mount. */
const RECORDED_MS = 20_000
/** Of one layer: 4 GiB of it. */
const MAX_PIECES = 4096

/** Records what is read of one open layer. */
export class ReadProfile {
  readonly #layerId: string
  readonly #cache: Cache
  readonly #sinceMs = performance.now()
  readonly #noted = new Set<number>()
  #timer: NodeJS.Timeout | undefined

  constructor(layerId: string, cache: Cache) {
    this.#layerId = layerId
    this.#cache = cache
  }

  /** Takes note of pieces that somebody waits for, or would have. */
  note(first: number, count: number): void {
    if (performance.now() - this.#sinceMs > RECORDED_MS) return
    for (let piece = first; piece < first + count; piece++) {
      if (this.#noted.size < MAX_PIECES) this.#noted.add(piece)
    }
    this.#timer ??= setTimeout(() => void this.save(), RECORDED_MS).unref()
  }

  /** Gives what was read first in earlier runs; nothing where that cannot be used. */
  async load(): Promise<readonly number[]> {
    const path = this.#cache.profilePath(this.#layerId)
    const payload = await this.#cache.readSealed(path)
    if (payload === undefined) return []
    const length = payload.length - HEADER_SIZE
    const isKnown = payload.toString('latin1', 0, 8) === MAGIC && length >= 0 && length % 4 === 0
    if (!isKnown || payload.readUInt32LE(8) !== VERSION || length / 4 > MAX_PIECES) {
      log.info({ path }, 'ignored a profile that cannot be used')
      return []
    }
    return Array.from({ length: length / 4 }, (_, n) => payload.readUInt32LE(HEADER_SIZE + n * 4))
  }

  /** Keeps what was noted. What earlier runs waited for stays in front: fetched in time, it was not missed again. */
  async save(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const noted = [...this.#noted]
    this.#noted.clear()
    if (noted.length === 0) return
    await storeIfPossible('a profile', async () => {
      const known = await this.load()
      const pieces = [...new Set([...known, ...noted])].slice(0, MAX_PIECES)
      if (pieces.length === known.length) return
      const payload = Buffer.alloc(HEADER_SIZE + pieces.length * 4)
      payload.write(MAGIC, 'latin1')
      payload.writeUInt32LE(VERSION, 8)
      for (const [n, piece] of pieces.entries()) payload.writeUInt32LE(piece, HEADER_SIZE + n * 4)
      await this.#cache.writeSealed(this.#cache.profilePath(this.#layerId), [payload])
    })
  }
}
