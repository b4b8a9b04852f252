// Bytes of one request that are used from the front while the rest is still on its way.

type OnArrived = (bytes: Buffer, length: number) => void

/** What one request gives, for any number of parts that each want so many bytes from its front. */
export class ComingBytes {
  readonly #whole: Promise<Buffer>
  /** In the order in which they asked, which for the usual request is that of what they wait for. */
  readonly #waiting: { readonly end: number; readonly resolve: (bytes: Buffer) => void }[] = []
  #told = 0

  /** Sends the request, which is to call back as bytes come in; a request that does not makes all wait for its end. */
  constructor(send: (onArrived: OnArrived) => Promise<Buffer>) {
    this.#whole = send((bytes, length) => {
      for (let next = this.#waiting[this.#told]; next !== undefined && next.end <= length;) {
        next.resolve(bytes)
        next = this.#waiting[++this.#told]
      }
    })
    // Each that waits is told by itself.
    this.#whole.catch(() => undefined)
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
}
