// `ocimount cache du|verify|prune`

import { Cache } from '../cache/cache.js'
import { OcimountError } from '../errors.js'
import { quote } from '../image/quote.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { formatBytes, formatTable, printJson, printNote, printResult } from './output.js'
import { progressReporter } from './progress.js'

/** Shows, checks or shrinks the cache. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const cache = await Cache.open({ dir: args.cacheDir })
  switch (args.paths[0]) {
    case 'du':
      return showUsage(cache, args)
    case 'verify':
      return verify(cache, args)
    default:
      return prune(cache, args)
  }
}

async function showUsage(cache: Cache, args: CommandArguments): Promise<ExitStatus> {
  const usage = await cache.diskUsage()
  if (args.json) {
    printJson({ root: cache.root, ...usage })
    return EXIT.done
  }
  const rows = Object.entries({ ...usage.kinds, 'in progress': usage.staging }).map(
    ([kind, { entries, bytes }]) => [kind, entries, formatBytes(bytes)],
  )
  printResult(`${cache.root}\n${formatTable(['kind', 'entries', 'space'], rows)}`)
  printResult(`total ${formatBytes(usage.totalBytes)}\n`)
  return EXIT.done
}

async function verify(cache: Cache, args: CommandArguments): Promise<ExitStatus> {
  const { report, finish } = progressReporter(args.quiet)
  const result = await cache.verify({
    keep: args.keep,
    onProgress:
      report &&
      (({ done, total }) => {
        report({ what: 'hashing entries', done, total })
      }),
  })
  finish()
  if (args.json) printJson(result)
  else {
    for (const { path, why, isRemoved } of result.bad) {
      printResult(`${path}: ${why}${isRemoved ? ' (removed)' : ''}\n`)
    }
    if (!args.quiet) {
      printNote(
        `ocimount: ${result.checked} entries, ${formatBytes(result.bytes)} hashed, ${result.bad.length} bad`,
      )
    }
  }
  return result.bad.length === 0 ? EXIT.done : EXIT.verification
}

async function prune(cache: Cache, args: CommandArguments): Promise<ExitStatus> {
  if (args.maxSize === undefined) {
    throw new OcimountError(
      'USAGE',
      'Cannot prune the cache: --max-size says how much may stay (0 for nothing)',
    )
  }
  const result = await cache.prune({ maxBytes: parseSize(args.maxSize) })
  if (args.json) printJson(result)
  else if (!args.quiet) {
    const kept =
      result.inUse.length > 0 ? `, ${result.inUse.length} kept because they are in use` : ''
    printNote(
      `ocimount: ${result.removed.length} entries removed, ${formatBytes(result.freedBytes)} freed, ${formatBytes(result.remainingBytes)} left${kept}`,
    )
  }
  return EXIT.done
}

/** `500M`, `20G`, `1.5GB`, `1GiB`, plain bytes; powers of 1000 unless there is an `i`. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?$/i.exec(text.trim())
  if (match === null) {
    throw new OcimountError(
      'USAGE',
      `Cannot understand size ${quote(text)}: write 500M, 20G or bytes`,
    )
  }
  const [, number = '', unit = '', binary = ''] = match
  const power = ['', 'k', 'm', 'g', 't', 'p'].indexOf(unit.toLowerCase())
  return Math.floor(Number(number) * (binary === '' ? 1000 : 1024) ** power)
}
