// The progress bar: one line on standard error, only where that is a terminal.

import { formatBytes, formatSeconds } from './output.js'

/** How far one piece of work has come, in bytes. */
export interface ProgressUpdate {
  readonly what: string
  readonly done: number
  readonly total: number
}

const REDRAW_INTERVAL_MS = 100
/** Work that is over this soon is not worth a bar. */
const QUIET_MS = 250
const BAR_CELLS = 24

/** Shows the sum of all running pieces of work as a bar with rate and time left. */
export class ProgressBar {
  readonly #output: NodeJS.WriteStream
  readonly #work = new Map<string, ProgressUpdate>()
  readonly #startedMs = Date.now()
  #drawnMs = 0
  #isShown = false

  constructor(output: NodeJS.WriteStream = process.stderr) {
    this.#output = output
  }

  /** Takes the newest state of one piece of work and redraws when it is time. */
  update(progress: ProgressUpdate): void {
    this.#work.set(progress.what, progress)
    const nowMs = Date.now()
    if (nowMs - this.#startedMs < QUIET_MS || nowMs - this.#drawnMs < REDRAW_INTERVAL_MS) return
    this.#drawnMs = nowMs
    this.#isShown = true
    this.#output.write(
      `\r\x1b[K${this.#line(nowMs).slice(0, Math.max(20, (this.#output.columns || 80) - 1))}`,
    )
  }

  /** Clears the line. */
  finish(): void {
    if (this.#isShown) this.#output.write('\r\x1b[K')
    this.#isShown = false
  }

  #line(nowMs: number): string {
    let done = 0
    let total = 0
    for (const work of this.#work.values()) {
      done += work.done
      total += work.total
    }
    const fraction = total > 0 ? Math.min(1, done / total) : 0
    const seconds = (nowMs - this.#startedMs) / 1000
    const rate = done / seconds
    const filled = Math.round(fraction * BAR_CELLS)
    const bar = '#'.repeat(filled) + '.'.repeat(BAR_CELLS - filled)
    const left = rate > 0 ? formatSeconds((total - done) / rate) : '?'
    const labels = [...this.#work.values()]
      .filter((work) => work.done < work.total)
      .map((work) => work.what)
    return `[${bar}] ${Math.floor(fraction * 100)}%  ${formatBytes(done)} of ${formatBytes(total)}  ${formatBytes(rate)}/s  ${left} left  ${labels.join(', ')}`
  }
}

/** Gives a callback that draws on a terminal and does nothing elsewhere, and its end. */
export function progressReporter(isQuiet: boolean): {
  readonly report: ((update: ProgressUpdate) => void) | undefined
  readonly finish: () => void
} {
  if (isQuiet || !process.stderr.isTTY) return { report: undefined, finish: nothing }
  const bar = new ProgressBar()
  return {
    report: (update) => {
      bar.update(update)
    },
    finish: () => {
      bar.finish()
    },
  }
}

function nothing(): void {
  // Nothing was drawn.
}
