// Bytes from one connection, or from two while the first one starves: the second is asked for the rest, and the two race until one
// of them is clearly alive. What comes twice is passed on once.
//
//   one lane ──starves──▶ two lanes ──one has brought enough──▶ that one
//                             └──one fails──▶ the other one

import { messageOf } from '../errors.js'
import { log } from '../logger.js'
import type { StreamRates } from './stream-rates.js'

/** Opens a connection that gives the bytes from an offset on, until the signal aborts. */
export type OpenLane = (offset: number, signal: AbortSignal) => AsyncGenerator<Buffer>

/**
 * Reads from `offset` on.
 *
 * @throws what the connections throw, when none is left
 */
export async function* readSteadily(
  open: OpenLane,
  offset: number,
  rates: StreamRates,
): AsyncGenerator<Buffer, void, undefined> {
  const race = new Race(open, offset)
  const rate = rates.start(() => {
    race.startSecond()
  })
  try {
    for (;;) {
      const chunk = await rate.wait(race.next())
      if (chunk === undefined) return
      yield chunk
    }
  } finally {
    rate.end()
    race.end()
  }
}

/** A connection that has brought so much is alive. */
const ALIVE_BYTES = 64 * 1024

class Race {
  readonly #open: OpenLane
  readonly #lanes = new Set<Lane>()
  readonly #news: News[] = []
  #onNews: () => void = nothing
  #done: number
  #isRefused = false

  constructor(open: OpenLane, offset: number) {
    this.#open = open
    this.#done = offset
    this.#lanes.add(new Lane(open, offset))
  }

  /** Has another connection try, where there is one alone. */
  startSecond(): void {
    if (this.#lanes.size !== 1 || this.#isRefused) return
    for (const lane of this.#lanes) lane.received = 0
    log.info({ offset: this.#done }, 'a connection starves; another one is tried beside it')
    const second = new Lane(this.#open, this.#done)
    this.#lanes.add(second)
    this.#pull(second)
  }

  /** Gives the next bytes; undefined at the end. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      for (const lane of this.#lanes) this.#pull(lane)
      const { lane, ...news } = await this.#take()
      if (!this.#lanes.has(lane)) continue
      if ('error' in news) {
        this.#lose(lane, news.error)
        continue
      }
      if (news.chunk === undefined) return undefined
      const fresh = lane.receive(news.chunk, this.#done)
      if (this.#lanes.size > 1 && lane.received >= ALIVE_BYTES) this.#win(lane)
      if (fresh.length === 0) continue
      this.#done += fresh.length
      return fresh
    }
  }

  end(): void {
    for (const lane of this.#lanes) lane.drop()
    this.#lanes.clear()
  }

  #pull(lane: Lane): void {
    lane.pull((news) => {
      this.#news.push(news)
      this.#onNews()
    })
  }

  async #take(): Promise<News> {
    for (;;) {
      const news = this.#news.shift()
      if (news !== undefined) return news
      await new Promise<void>((resolve) => {
        this.#onNews = resolve
      })
    }
  }

  /** One of two may fail: a registry that wants no second connection gets none any more. */
  #lose(lane: Lane, error: unknown): void {
    this.#lanes.delete(lane)
    if (this.#lanes.size === 0) throw error
    this.#isRefused = true
    log.info({ why: messageOf(error) }, 'one of two connections failed')
  }

  #win(winner: Lane): void {
    for (const lane of this.#lanes) {
      if (lane === winner) continue
      lane.drop()
      this.#lanes.delete(lane)
    }
  }
}

type News =
  | { readonly lane: Lane; readonly chunk: Buffer | undefined }
  | { readonly lane: Lane; readonly error: unknown }

class Lane {
  /** Bytes that it has brought since it races. */
  received = 0
  readonly #ending = new AbortController()
  readonly #chunks: AsyncGenerator<Buffer>
  #position: number
  #isPulling = false

  constructor(open: OpenLane, offset: number) {
    this.#position = offset
    this.#chunks = open(offset, this.#ending.signal)
  }

  /** Asks for the next bytes, unless that is under way. */
  pull(tell: (news: News) => void): void {
    if (this.#isPulling) return
    this.#isPulling = true
    this.#chunks.next().then(
      ({ done, value }) => {
        tell({ lane: this, chunk: done === true ? undefined : value })
      },
      (error: unknown) => {
        tell({ lane: this, error })
      },
    )
  }

  /** Takes what was pulled; gives what of it lies behind `done`. */
  receive(chunk: Buffer, done: number): Buffer {
    this.#isPulling = false
    const known = Math.min(chunk.length, done - this.#position)
    this.#position += chunk.length
    this.received += chunk.length
    return chunk.subarray(known)
  }

  drop(): void {
    this.#ending.abort()
    this.#chunks.return(undefined).catch(nothing)
  }
}

function nothing(): void {
  // Nobody waits, or what a dropped connection says does not matter.
}
