// Runs layer tasks in worker threads, as many at a time as there are processors. A task goes waiting → running → ended;
// aborting takes it to its end from either, and the promise settles only when the thread is gone, so that its
// files can be removed.

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'

import type { Arrival } from '../cache/arrival.js'
import { messageOf, OcimountError } from '../errors.js'
import { Slots } from './slots.js'
import {
  unpackError,
  type LayerResult,
  type LayerTask,
  type MainMessage,
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
  /** Of a blob that is read while it comes in. Reading it waits for more, and takes no turn from others meanwhile. */
  readonly arrival?: Arrival | undefined
}

/**
 * Runs a task in a thread of its own, when one is free.
 *
 * @throws OcimountError whatever the task throws; `INTERRUPTED` after the signal; `INTERNAL` when the thread dies
 */
export async function runLayerTask(task: LayerTask, options: TaskOptions): Promise<LayerResult> {
  return withSlot(options, () => runThread(task, options))
}

/**
 * Runs work on a layer when there is a processor for it; at once where it mostly waits for bytes, of which there are only as
 * many as are fetched at a time.
 *
 * @throws OcimountError `INTERRUPTED` after the signal, before it began; and what the work throws
 */
export async function withSlot<T>(
  { signal, arrival }: Pick<TaskOptions, 'signal' | 'arrival'>,
  work: () => Promise<T>,
): Promise<T> {
  return arrival === undefined ? slots.run(signal, work) : work()
}

const slots = new Slots(availableParallelism())

function runThread(task: LayerTask, options: TaskOptions): Promise<LayerResult> {
  const { onProgress, signal, arrival } = options
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./layer-worker.js', import.meta.url), { workerData: task })
    const total = task.region.length
    let outcome: WorkerMessage | undefined
    let failure: unknown
    const post = (message: MainMessage): void => {
      worker.postMessage(message)
    }
    const abort = (): void => {
      post('abort')
    }
    if (signal?.aborted === true) abort()
    signal?.addEventListener('abort', abort, { once: true })
    const unwatch = arrival?.watch((arrived) => {
      post({ arrived })
    })
    worker.on('message', (message: WorkerMessage) => {
      if (message.type === 'progress') onProgress?.({ done: message.done, total })
      else outcome = message
    })
    worker.on('error', (error) => {
      failure = error
    })
    worker.on('exit', (status) => {
      signal?.removeEventListener('abort', abort)
      unwatch?.()
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
