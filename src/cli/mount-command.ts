// `ocimount [mount] IMAGE MOUNTPOINT`

import type { ChildProcess } from 'node:child_process'
import { escapeName, escapeText, byteStringOf } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { toMountRequest, type MountRequest } from './mount-request.js'
import { driverText, formatSeconds, printJson, printNote } from './output.js'
import { progressReporter } from './progress.js'
import type { MountSummary } from './mount-summary.js'
import type { ServerMessage } from './server-messages.js'
import { takeServer } from './server-process.js'

/** Mounts; returns when the mount is usable, or with -f when it is gone. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const request = toMountRequest(args, process.cwd())
  return args.foreground ? serveHere(args, request) : serveElsewhere(args, request)
}

async function serveElsewhere(args: CommandArguments, request: MountRequest): Promise<ExitStatus> {
  const server = takeServer(args.image === '-')
  const { report, finish } = progressReporter(args.quiet)
  // The server has a session of its own: an interrupt of ours does not reach it unless it is passed on.
  const interrupt = (): void => {
    server.kill('SIGTERM')
  }
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt).on('SIGHUP', interrupt)
  try {
    const summary = await askServer(server, request, (update) => report?.(update))
    finish()
    announce(args, summary)
    return EXIT.done
  } finally {
    finish()
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt).off('SIGHUP', interrupt)
    if (server.connected) server.disconnect()
    server.unref()
  }
}

/** Sends the request and waits for the answer, or for the server's end. */
function askServer(
  server: ChildProcess,
  request: MountRequest,
  onProgress: (update: Extract<ServerMessage, { kind: 'progress' }>['update']) => void,
): Promise<MountSummary> {
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
    server.once('exit', (code, signal) => {
      fail(
        `the serving process ended before the mount was usable (${signal ?? `exit status ${code ?? '?'}`})`,
      )
    })
    server.once('error', (error) => {
      fail('the serving process cannot be started', error)
    })
    server.send(request, (error) => {
      // The exit event tells more; this one comes when there will be none.
      if (error !== null && server.exitCode === null && server.pid === undefined)
        fail('the serving process cannot be reached', error)
    })
  })
}

function toError(message: Extract<ServerMessage, { kind: 'failed' }>): Error {
  const cause = new Error(message.message)
  cause.stack = message.stack
  return new OcimountError(message.code, message.message, { details: message.details, cause })
}

async function serveHere(args: CommandArguments, request: MountRequest): Promise<ExitStatus> {
  const { serveMount } = await import('./serve-mount.js')
  const ending = new AbortController()
  const end = (): void => {
    ending.abort()
  }
  process.on('SIGINT', end).on('SIGTERM', end).on('SIGHUP', end)
  const { report, finish } = progressReporter(args.quiet)
  const served = await serveMount(request, {
    signal: ending.signal,
    logsToFile: false,
    leavesDirect: false,
    onProgress: report,
  }).finally(finish)
  announce(args, served.summary)
  await served.finished
  return EXIT.done
}

function announce(args: CommandArguments, summary: MountSummary): void {
  if (args.json) {
    printJson(summary)
    return
  }
  if (args.quiet) return
  for (const warning of summary.warnings) printNote(`ocimount: warning: ${warning}`)
  if (summary.altered > 0) {
    printNote(
      `ocimount: ${summary.altered} entries were dropped, replaced or repaired: see ocimount inspect --report`,
    )
  }
  if (summary.hidden > 0) {
    printNote(
      `ocimount: ${summary.hidden} names are not UTF-8 and cannot be shown by ${summary.driver}: see ocimount status`,
    )
  }
  const { image, platform, layers, files, seconds } = summary
  const shown = escapeName(byteStringOf(image)).replaceAll('\\x5c', '\\')
  const parts = [
    `${layers} ${layers === 1 ? 'layer' : 'layers'}`,
    `${files} files`,
    driverText(summary.driver, { direct: summary.direct, isWritable: summary.writable }),
    formatSeconds(seconds),
  ]
  printNote(`ocimount: ${shown} (${platform}): ${parts.join(', ')}`)
}
