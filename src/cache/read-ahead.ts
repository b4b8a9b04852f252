// Tells sequential readers by their misses. What a reader finds in the file is never heard of, so a miss at the end of what
// was filled ahead, or within it while it is still being filled, is the sign to go on.

const FIRST_WINDOW = 2
const MAX_WINDOW = 4

/** Watches the misses of one file. */
export class ReadAhead {
  readonly #fill: (first: number, end: number) => void
  #start = -1
  #end = -1
  #window = FIRST_WINDOW

  /** `fill` is asked for the pieces from `first` to before `end`. */
  constructor(fill: (first: number, end: number) => void) {
    this.#fill = fill
  }

  /** Notes a miss of pieces, and asks for those behind it where misses came in order. */
  onMiss(first: number, end: number): void {
    if (first === this.#start) return
    if (first < this.#start || first > this.#end) {
      this.#start = first
      this.#end = end
      this.#window = FIRST_WINDOW
      return
    }
    const from = Math.max(end, this.#end)
    const to = Math.max(from, end + this.#window)
    this.#window = MAX_WINDOW
    this.#start = first
    this.#end = to
    if (to > from) this.#fill(from, to)
  }
}
