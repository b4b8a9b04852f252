// The serving process: waits for one request on its IPC channel, serves the mount, answers when it is usable,
// and lives until the mount is gone.
//
//   parent ── MountRequest, and perhaps 'interrupt' ──▶ server
//   parent ◀── progress* ── server
//   parent ◀── ready | failed ── server; then the channel is closed
//
// When the parent goes away before that, so does everything that was done.

import { isOcimountError, messageOf } from '../errors.js'
import { log } from '../logger.js'
import type { BundleRequest } from './bundle-request.js'
import type { MountRequest } from './mount-request.js'
import type { ServeHooks } from './serve-start.js'
import type { ProgressUpdate } from './progress.js'
import type { ServedBundle } from './serve-bundle.js'
import { serveMount, type ServedMount } from './serve-mount.js'
import { canShare, serveShared } from './serve-shared.js'
import type { ServerMessage } from './server-messages.js'
import { restoreEnvironment } from './server-options.js'

restoreEnvironment(process.env)
const ending = new AbortController()
let isUsable = false

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.on(signal, () => {
    ending.abort()
  })
}
process.on('disconnect', () => {
  if (!isUsable) ending.abort()
})
process.on('uncaughtException', (error) => {
  log.error({ stack: error.stack }, `Unexpected: ${messageOf(error)}`)
  if (!isUsable) process.exit(1)
})
process.on('message', (message) => {
  if (message === 'interrupt') ending.abort()
  else void serve(message as MountRequest | BundleRequest)
})

async function serveRequest(
  request: MountRequest | BundleRequest,
  hooks: ServeHooks,
): Promise<ServedMount | ServedBundle> {
  if ('kind' in request) {
    const { serveBundle } = await import('./serve-bundle.js')
    return serveBundle(request, hooks)
  }
  // A direct mount has no server that could be shared.
  return canShare() && !request.direct
    ? serveShared(request, hooks)
    : serveMount(request, { ...hooks, logsToFile: true, leavesDirect: true })
}

async function serve(request: MountRequest | BundleRequest): Promise<void> {
  try {
    process.chdir(request.cwd)
    const hooks = {
      signal: ending.signal,
      onProgress: (update: ProgressUpdate) => {
        if (!isUsable) tell({ kind: 'progress', update })
      },
    }
    const served = await serveRequest(request, hooks)
    isUsable = true
    // Whatever directory the caller was in must not stay busy.
    process.chdir('/')
    await new Promise<void>((resolve) => {
      tell({ kind: 'ready', summary: served.summary }, resolve)
    })
    if (process.connected) process.disconnect()
    await served.finished
    process.exit(0)
  } catch (error) {
    const code = isOcimountError(error) ? error.code : 'INTERNAL'
    const details = isOcimountError(error) ? error.details : {}
    const stack = error instanceof Error ? (error.stack ?? '') : ''
    tell({ kind: 'failed', code, message: messageOf(error), details, stack }, () => process.exit(1))
  }
}

function tell(message: ServerMessage, then?: () => void): void {
  if (process.connected && process.send !== undefined) process.send(message, () => then?.())
  else then?.()
}
