// `ocimount validate IMAGE`

import { Cache } from '../cache/cache.js'
import type { ErrorCode } from '../errors.js'
import { parsePlatform } from '../reference/platform.js'
import { validateImage, type Finding } from '../source/validate.js'
import { cacheOptions } from './cache-options.js'
import type { CommandArguments } from './commands.js'
import { EXIT, exitStatusOfCode, type ExitStatus } from './exit-codes.js'
import { printJson, printNote, printResult } from './output.js'
import { progressReporter } from './progress.js'
import { registryOptions } from './registry-options.js'

/** Reports every finding; exit status 5 when a digest is wrong, else 3 for errors, 0 for warnings alone. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const cache = await Cache.open(cacheOptions(args))
  const { report, finish } = progressReporter(args.quiet)
  const findings = await validateImage(args.image, {
    cache,
    ref: args.ref,
    ...registryOptions(args),
    platform: args.platform === undefined ? undefined : parsePlatform(args.platform),
    onProgress:
      report &&
      ((progress) => {
        report({ what: 'checking', ...progress })
      }),
  }).finally(finish)
  if (args.json) printJson({ findings })
  else {
    for (const { level, where, code, message } of findings) {
      printResult(`${level}: ${where}: ${message} [${code}]\n`)
    }
    if (!args.quiet) printNote(`ocimount: ${summary(findings)}`)
  }
  return statusOf(findings)
}

function summary(findings: readonly Finding[]): string {
  const errors = findings.filter(({ level }) => level === 'error').length
  const warnings = findings.length - errors
  return findings.length === 0 ? 'valid' : `${errors} errors, ${warnings} warnings`
}

function statusOf(findings: readonly Finding[]): ExitStatus {
  const errors = findings.filter(({ level }) => level === 'error')
  if (errors.length === 0) return EXIT.done
  const statuses = errors.map(({ code }) => exitStatusOfCode(code as ErrorCode))
  return statuses.includes(EXIT.verification) ? EXIT.verification : EXIT.image
}
