// Keeps the data of all layers of a cache below a number of bytes, whoever wrote it. What nobody has mounted goes first,
// then what the mounts of this process used longest ago; other processes see to theirs.
//
//   0 ────────────── low ─── high ─── max        over high: down to low; now and then, from above low: what is idle
//                                                 at max: nothing more is stored, what is read comes from memory
//
// What is mounted and cannot be made again (zstd layers) counts and stays. So that a cache which is full of that, or of
// what processes without a limit keep, does not make every read inflate, a process keeps MIN_OWN of its own in any case.

import { messageOf } from '../errors.js'
import { log } from '../logger.js'
import { PIECE_SIZE } from './piece-map.js'

const MIN_MARGIN = 4 * PIECE_SIZE
const MIN_OWN = 8 * PIECE_SIZE
const TICK_MS = 5000
const RETRY_MS = 1000

/** An open file that can give up pieces. */
export interface QuotaMember {
  presentBytes(): number
  sweep(limit: number): { readonly pieces: readonly number[]; readonly isEnd: boolean }
  /** Gives the bytes that became free; never fails. */
  evict(pieces: readonly number[]): Promise<number>
}

export interface QuotaSource {
  /** Space that the data of all layers takes now. */
  measure(): Promise<number>
  /** Makes room in what nobody has mounted, and gives how much. */
  emptyClosed(wantedBytes: number): Promise<number>
}

/** The limit of one cache, as this process keeps it. */
export class CacheQuota {
  readonly maxBytes: number
  readonly #low: number
  readonly #high: number
  readonly #source: QuotaSource
  readonly #members = new Set<QuotaMember>()
  #used = 0
  #reserved = 0
  #turn = 0
  #notBefore = 0
  #running: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #isReported = false

  constructor(maxBytes: number, source: QuotaSource) {
    this.maxBytes = maxBytes
    const margin = Math.min(maxBytes / 4, Math.max(maxBytes / 16, MIN_MARGIN))
    this.#high = maxBytes - margin
    this.#low = maxBytes - 2 * margin
    this.#source = source
  }

  /** Asks for room for new pieces; true has to be followed by {@link settle}. */
  reserve(bytes: number): boolean {
    const own = Math.min(MIN_OWN, this.maxBytes)
    const hasRoom =
      this.#used + this.#reserved + bytes <= this.maxBytes ||
      this.#ownBytes() + this.#reserved + bytes <= own
    if (hasRoom) this.#reserved += bytes
    return hasRoom
  }

  /** Lets a file give up pieces from now on. */
  join(member: QuotaMember): void {
    this.#members.add(member)
    this.#timer ??= setInterval(() => void this.#tick(), TICK_MS).unref()
  }

  /** Waits until nothing is asked of the file any more. */
  async leave(member: QuotaMember): Promise<void> {
    this.#members.delete(member)
    if (this.#members.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
    await this.#running
  }

  /** Looks at the disk, and makes room behind the caller where there is too much. */
  async refresh(): Promise<void> {
    await this.#measure()
    this.#makeRoom()
  }

  /** Says how much of what was reserved was stored, and makes room behind the caller where that was too much. */
  settle(reserved: number, stored: number): void {
    this.#reserved -= reserved
    this.#used += stored
    this.#makeRoom()
  }

  #ownBytes(): number {
    return [...this.#members].reduce((sum, member) => sum + member.presentBytes(), 0)
  }

  #makeRoom(): void {
    if (this.#used > this.#high && performance.now() >= this.#notBefore) this.#shrink(ROUNDS)
  }

  async #tick(): Promise<void> {
    await this.#measure()
    if (this.#used > this.#low) this.#shrink(1)
  }

  async #measure(): Promise<void> {
    try {
      this.#used = await this.#source.measure()
    } catch (error) {
      this.#report(messageOf(error))
    }
  }

  #shrink(rounds: number): void {
    this.#running ??= this.#shrinkNow(rounds)
      .catch((error: unknown) => {
        this.#report(messageOf(error))
      })
      .finally(() => {
        this.#running = undefined
      })
  }

  async #shrinkNow(rounds: number): Promise<void> {
    await this.#measure()
    if (this.#used > this.#low) {
      this.#used -= await this.#source.emptyClosed(this.#used - this.#low)
    }
    for (let passes = 0; this.#used > this.#low && passes < rounds * this.#members.size;) {
      const member = [...this.#members][this.#turn % this.#members.size]
      const { pieces = [], isEnd = true } =
        member?.sweep(Math.ceil((this.#used - this.#low) / PIECE_SIZE)) ?? {}
      if (pieces.length > 0) this.#used -= (await member?.evict(pieces)) ?? 0
      if (isEnd) {
        this.#turn++
        passes++
      }
    }
    await this.#measure()
    if (this.#used <= this.#high) return
    this.#notBefore = performance.now() + RETRY_MS
    if (this.#used > this.maxBytes) this.#report('what takes it is mounted and cannot be given up')
  }

  #report(why: string): void {
    const details = { bytes: this.#used, maxBytes: this.maxBytes, why }
    if (this.#isReported) log.debug(details, 'the cache is still larger than it should be')
    else log.warn(details, 'the cache is larger than it should be')
    this.#isReported = true
  }
}

/** A file is gone over once to clear the marks, once to find what was not marked since, and once for where it began. */
const ROUNDS = 3
