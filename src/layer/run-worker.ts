// Runs layer tasks in worker threads, as many at a time as there are processors. A task goes waiting → running → ended;
// aborting takes it to its end from either, and the promise settles only when the thread is gone, so that its
// files can be removed.

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'

import { messageOf, OcimountError } from '../errors.js'
import {
  ABORT_MESSAGE,
  unpackError,
  type LayerResult,
  type LayerTask,
  type WorkerMessage,
} from './worker-messages.js'

/** How far a layer is, in bytes as stored. */
export interface LayerProgress {
  readonly done: number
  readonly total: number
}

export interface TaskOptions {
  readonly onProgress?: ((progress: LayerProgress) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Runs a task in a thread of its own, when one is free.
 *
 * @throws OcimountError whatever the task throws; `INTERRUPTED` after the signal; `INTERNAL` when the thread dies
 */
export async function runLayerTask(task: LayerTask, options: TaskOptions): Promise<LayerResult> {
  return withSlot(options.signal, () => runThread(task, options))
}

/**
 * Runs work on a layer when there is a processor for it.
 *
 * @throws OcimountError `INTERRUPTED` after the signal, before it began; and what the work throws
 */
export async function withSlot<T>(
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  await slots.take(signal)
  try {
    return await work()
  } finally {
    slots.giveBack()
  }
}

function runThread(task: LayerTask, { onProgress, signal }: TaskOptions): Promise<LayerResult> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./layer-worker.js', import.meta.url), { workerData: task })
    const total = task.region.length
    let outcome: WorkerMessage | undefined
    let failure: unknown
    const abort = (): void => {
      worker.postMessage(ABORT_MESSAGE)
    }
    signal?.addEventListener('abort', abort, { once: true })
    worker.on('message', (message: WorkerMessage) => {
      if (message.type === 'progress') onProgress?.({ done: message.done, total })
      else outcome = message
    })
    worker.on('error', (error) => {
      failure = error
    })
    worker.on('exit', (status) => {
      signal?.removeEventListener('abort', abort)
      if (outcome?.type === 'done') {
        onProgress?.({ done: total, total })
        resolve(outcome.result)
      } else if (outcome?.type === 'failed') {
        reject(unpackError(outcome.error))
      } else {
        const why = failure === undefined ? `it ended with status ${status}` : messageOf(failure)
        reject(
          new OcimountError('INTERNAL', `Cannot run a layer worker: ${why}`, { cause: failure }),
        )
      }
    })
  })
}

/** A counting semaphore, first come first served. */
class Slots {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(count: number) {
    this.#free = count
  }

  async take(signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal)
    if (this.#free > 0) {
      this.#free--
      return
    }
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(start), 1)
        reject(interrupted())
      }
      const start = (): void => {
        signal?.removeEventListener('abort', abort)
        resolve()
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting.push(start)
    })
  }

  /** Hands the slot to whoever waits longest. */
  giveBack(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }
}

const slots = new Slots(availableParallelism())

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw interrupted()
}

function interrupted(): OcimountError {
  return new OcimountError('INTERRUPTED', 'Cannot index a layer: it was interrupted')
}
