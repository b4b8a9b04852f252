// `ocimount [mount] IMAGE MOUNTPOINT`

import { escapeName, byteStringOf } from '../byte-string.js'
import { askServer } from './ask-server.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { toMountRequest, type MountRequest } from './mount-request.js'
import { driverText, formatSeconds, printJson, printNote } from './output.js'
import { progressReporter } from './progress.js'
import type { MountSummary } from './mount-summary.js'

/** Mounts; returns when the mount is usable, or with -f when it is gone. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const request = toMountRequest(args, process.cwd())
  return args.foreground ? serveHere(args, request) : serveElsewhere(args, request)
}

async function serveElsewhere(args: CommandArguments, request: MountRequest): Promise<ExitStatus> {
  announce(args, await askServer<MountSummary>(request, args.quiet))
  return EXIT.done
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
