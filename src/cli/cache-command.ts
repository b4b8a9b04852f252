// `ocimount cache du|verify|prune`

import { Cache } from '../cache/cache.js'
import { parseSize } from '../cache/cache-size.js'
import { OcimountError } from '../errors.js'
import { cacheOptions } from './cache-options.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { formatBytes, formatTable, printJson, printNote, printResult } from './output.js'
import { progressReporter } from './progress.js'

/** Shows, checks or shrinks the cache. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const cache = await Cache.open(cacheOptions(args))
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
  const data = { dataBytes: await cache.dataBytes(), maxDataBytes: cache.quota?.maxBytes }
  if (args.json) {
    printJson({ root: cache.root, ...usage, ...data })
    return EXIT.done
  }
  const rows = Object.entries({ ...usage.kinds, 'in progress': usage.staging }).map(
    ([kind, { entries, bytes }]) => [kind, entries, formatBytes(bytes)],
  )
  printResult(`${cache.root}\n${formatTable(['kind', 'entries', 'space'], rows)}`)
  printResult(`total ${formatBytes(usage.totalBytes)}\n`)
  const limit = data.maxDataBytes === undefined ? '' : ` of ${formatBytes(data.maxDataBytes)}`
  printResult(`uncompressed layers ${formatBytes(data.dataBytes)}${limit}\n`)
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
    if (cache.quota !== undefined) return await emptyData(cache, cache.quota.maxBytes, args)
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

/** Without another limit than that of the cache: only what this bounds goes, what describes images stays. */
async function emptyData(
  cache: Cache,
  maxBytes: number,
  args: CommandArguments,
): Promise<ExitStatus> {
  const before = await cache.dataBytes()
  const freedBytes = before <= maxBytes ? 0 : await cache.emptyClosedData(before - maxBytes)
  const remainingBytes = await cache.dataBytes()
  if (args.json) printJson({ freedBytes, remainingBytes })
  else if (!args.quiet) {
    printNote(
      `ocimount: ${formatBytes(freedBytes)} of uncompressed layers freed, ${formatBytes(remainingBytes)} left`,
    )
  }
  return EXIT.done
}
