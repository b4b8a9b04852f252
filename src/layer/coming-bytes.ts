// Bytes of one request that are used from the front while the rest is still on its way.

type OnArrived = (bytes: Buffer, length: number) => void

/** What one request gives, for any number of parts that each want so many bytes from its front. */
export class ComingBytes {
  readonly #whole: Promise<Buffer>
  /** In the order in which they asked, which for the usual request is that of what they wait for. */
  readonly #waiting: { readonly end: number; readonly resolve: (bytes: Buffer) => void }[] = []
  #told = 0
  #arrived: { readonly bytes: Buffer; readonly length: number } = { bytes: NONE, length: 0 }
  /** Wakes those who take what comes. */
  #wake: () => void = nothing
  #woken = Promise.resolve()
  #isOver = false

  /** Sends the request, which is to call back as bytes come in; a request that does not makes all wait for its end. */
  constructor(send: (onArrived: OnArrived) => Promise<Buffer>) {
    this.#sleep()
    this.#whole = send((bytes, length) => {
      this.#note(bytes, length)
      for (let next = this.#waiting[this.#told]; next !== undefined && next.end <= length;) {
        next.resolve(bytes)
        next = this.#waiting[++this.#told]
      }
    })
    // Each that waits is told by itself.
    this.#whole.then(
      (bytes) => {
        this.#isOver = true
        this.#note(bytes, bytes.length)
      },
      // Who takes what comes waits for the whole as well.
      nothing,
    )
  }

  /**
   * Gives the bytes from `start` to `end` as they come.
   *
   * @throws what the request throws
   */
  async *stream(start: number, end: number): AsyncGenerator<Buffer, void, undefined> {
    for (let done = start; done < end;) {
      const { bytes, length } = this.#arrived
      const till = Math.min(length, end)
      if (till > done) {
        yield bytes.subarray(done, till)
        done = till
      } else if (this.#isOver) return
      else await Promise.race([this.#woken, this.#whole])
    }
  }

  /**
   * Gives the bytes when those before `end` are there; what follows them may not be.
   *
   * @throws what the request throws
   */
  upTo(end: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ end, resolve })
      this.#whole.then(resolve, reject)
    })
  }

  #note(bytes: Buffer, length: number): void {
    if (length > this.#arrived.length) this.#arrived = { bytes, length }
    const wake = this.#wake
    this.#sleep()
    wake()
  }

  #sleep(): void {
    this.#woken = new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

const NONE = Buffer.alloc(0)

function nothing(): void {
  // There is nothing to be done.
}
