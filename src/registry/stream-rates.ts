// How fast bodies come, so that one that starves can be told: it gets next to nothing, or far less than others of the client.
// For the one in question time counts only while somebody waits for its next bytes: a reader that is slow makes nobody starve.
// Others are taken by the clock, as what they were worth.

/** A stream that gets less than this part of what others get. */
const STARVED_PART = 1 / 8
/** Less than this in a window is a connection that hangs, whatever others get. */
const ALIVE_BYTES = 1024
/** Of how many windows others are looked at. */
const RECENT_WINDOWS = 3

interface Sample {
  readonly of: StreamRate
  readonly bytesPerMs: number
  readonly atMs: number
}

/** What the streams of one client get. */
export class StreamRates {
  readonly windowMs: number
  #samples: Sample[] = []

  /** `windowMs`: over how long a rate is taken. */
  constructor(windowMs: number) {
    this.windowMs = windowMs
  }

  /** Begins to watch one more stream; `onStarved` is called at the end of each window in which it starved. */
  start(onStarved: () => void): StreamRate {
    return new StreamRate(this, onStarved)
  }

  /** Gives what others got lately, in bytes per millisecond; undefined where there were none. */
  others(than: StreamRate): number | undefined {
    const sinceMs = performance.now() - RECENT_WINDOWS * this.windowMs
    this.#samples = this.#samples.filter(({ atMs }) => atMs >= sinceMs)
    const rates = this.#samples.filter(({ of }) => of !== than).map(({ bytesPerMs }) => bytesPerMs)
    if (rates.length === 0) return undefined
    return rates.reduce((sum, rate) => sum + rate, 0) / rates.length
  }

  note(of: StreamRate, bytesPerMs: number): void {
    this.#samples.push({ of, bytesPerMs, atMs: performance.now() })
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift()
  }
}

const MAX_SAMPLES = 32

/** What one stream gets. To be ended. */
export class StreamRate {
  readonly #all: StreamRates
  readonly #onStarved: () => void
  readonly #timer: NodeJS.Timeout
  #bytes = 0
  #sinceMs = performance.now()
  #waitedMs = 0
  #waitingSinceMs: number | undefined
  #isEnded = false

  constructor(all: StreamRates, onStarved: () => void) {
    this.#all = all
    this.#onStarved = onStarved
    this.#timer = setInterval(() => {
      // What came while this process was held up is taken in first.
      setImmediate(() => {
        this.#endWindow()
      })
    }, all.windowMs).unref()
  }

  /** Waits for the next bytes. */
  async wait(next: Promise<Buffer | undefined>): Promise<Buffer | undefined> {
    this.#waitingSinceMs = performance.now()
    try {
      const chunk = await next
      this.#bytes += chunk?.length ?? 0
      return chunk
    } finally {
      this.#countWait()
      this.#waitingSinceMs = undefined
    }
  }

  end(): void {
    clearInterval(this.#timer)
    this.#isEnded = true
    // What was short tells others how fast it went.
    this.#tell()
  }

  #endWindow(): void {
    if (this.#isEnded) return
    if (this.#waitingSinceMs !== undefined) this.#countWait()
    const bytes = this.#bytes
    const waitedMs = this.#waitedMs
    this.#tell()
    this.#bytes = 0
    this.#sinceMs = performance.now()
    this.#waitedMs = 0
    if (waitedMs < this.#all.windowMs / 2) return
    const others = this.#all.others(this)
    const isBehind = others !== undefined && bytes / waitedMs < others * STARVED_PART
    if (bytes < ALIVE_BYTES || isBehind) this.#onStarved()
  }

  #tell(): void {
    // What came all at once says little.
    const elapsedMs = Math.max(performance.now() - this.#sinceMs, this.#all.windowMs / 8)
    if (this.#bytes > 0) this.#all.note(this, this.#bytes / elapsedMs)
  }

  #countWait(): void {
    const nowMs = performance.now()
    this.#waitedMs += nowMs - (this.#waitingSinceMs ?? nowMs)
    this.#waitingSinceMs = nowMs
  }
}
