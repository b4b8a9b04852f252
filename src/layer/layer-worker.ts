// Entry point of a worker thread: runs the one task that it was started with, answers, and ends.

import { parentPort, workerData } from 'node:worker_threads'

import { OcimountError } from '../errors.js'
import { hashRegion } from './hash-region.js'
import { indexCompressed } from './index-compressed.js'
import { TaskContext } from './task-context.js'
import { encodeToc } from './toc-file.js'
import {
  packError,
  type LayerResult,
  type LayerTask,
  type MainMessage,
  type WorkerMessage,
} from './worker-messages.js'

async function runTask(task: LayerTask, context: TaskContext): Promise<LayerResult> {
  if (task.kind === 'index') return encodeToc(await indexCompressed(task, context))
  await hashRegion(task, context)
  return []
}

async function main(): Promise<void> {
  const port = parentPort
  if (port === null) throw new OcimountError('INTERNAL', 'Cannot run a layer task outside a worker')
  const post = (message: WorkerMessage): void => {
    port.postMessage(message)
  }
  const context = new TaskContext((done) => {
    post({ type: 'progress', done })
  })
  port.on('message', (message: MainMessage) => {
    if (message === 'abort') context.abort()
    else context.advance(message.arrived)
  })
  try {
    post({ type: 'done', result: await runTask(workerData as LayerTask, context) })
  } catch (error) {
    post({ type: 'failed', error: packError(error) })
  }
  port.close()
}

void main()
