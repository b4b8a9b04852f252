// Has the serving process do something, and waits for its answer.

import type { ChildProcess } from 'node:child_process'
import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import type { BundleRequest, BundleSummary } from './bundle-request.js'
import type { MountRequest } from './mount-request.js'
import type { MountSummary } from './mount-summary.js'
import { progressReporter, type ProgressUpdate } from './progress.js'
import type { ServerMessage } from './server-messages.js'
import { takeServer } from './server-process.js'

/**
 * Sends the request, shows progress, passes interrupts on, and gives what was made. The serving process goes on by itself then.
 *
 * @throws OcimountError what it met; `INTERNAL` when it ended without an answer
 */
export async function askServer<T extends MountSummary | BundleSummary>(
  request: MountRequest | BundleRequest,
  isQuiet: boolean,
): Promise<T> {
  const isRun = 'container' in request && request.container !== undefined
  const server = takeServer(request.image === '-', isRun)
  const { report, finish } = progressReporter(isQuiet)
  // The server has a session of its own: an interrupt of ours does not reach it unless it is passed on.
  const interrupt = (): void => {
    if (server.connected) server.send('interrupt')
  }
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt).on('SIGHUP', interrupt)
  try {
    return (await exchange(server, request, (update) => report?.(update))) as T
  } finally {
    finish()
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt).off('SIGHUP', interrupt)
    if (server.connected) server.disconnect()
    server.unref()
  }
}

/** Sends the request and waits for the answer, or for the server's end. */
function exchange(
  server: ChildProcess,
  request: MountRequest | BundleRequest,
  onProgress: (update: ProgressUpdate) => void,
): Promise<MountSummary | BundleSummary> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void => {
      const options = cause === undefined ? {} : { cause }
      reject(
        new OcimountError('INTERNAL', `Cannot mount ${escapeText(request.image)}: ${why}`, options),
      )
    }
    server.on('message', (raw) => {
      const message = raw as ServerMessage
      if (message.kind === 'progress') onProgress(message.update)
      else if (message.kind === 'ready') resolve(message.summary)
      else reject(toError(message))
    })
    server.once('disconnect', () => {
      fail('the serving process ended before the mount was usable')
    })
    server.once('error', (error) => {
      fail('the serving process cannot be started', error)
    })
    server.send(request, (error) => {
      if (error !== null) fail('the serving process cannot be reached', error)
    })
  })
}

function toError(message: Extract<ServerMessage, { kind: 'failed' }>): Error {
  const cause = new Error(message.message)
  cause.stack = message.stack
  return new OcimountError(message.code, message.message, { details: message.details, cause })
}
