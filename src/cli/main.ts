// The command `ocimount`: parses, runs, and turns whatever was thrown into one line and an exit status.

import { readFileSync } from 'node:fs'
import { isOcimountError, messageOf, OcimountError, systemErrorCode } from '../errors.js'
import { EXIT, exitStatusOf } from './exit-codes.js'
import { OutputClosed, printNote } from './output.js'
import { discardServer, isRun, startServerEarly } from './server-process.js'

const args = process.argv.slice(2)

void main()

async function main(): Promise<void> {
  try {
    checkWorkingDirectory()
    if (args.some((arg) => arg.startsWith('--env-file'))) forgetEnvFiles()
    if (isRun(args) && process.geteuid?.() !== 0) {
      const { enterUserNamespace } = await import('./user-namespace.js')
      await enterUserNamespace(args)
    }
    // Most calls are mounts, and a mount needs a second process: it boots while this one parses its arguments.
    startServerEarly(args)
    const { runProgram } = await import('./program.js')
    process.exitCode = await runProgram(args, version())
  } catch (error) {
    process.exitCode = report(error)
  } finally {
    discardServer()
  }
}

/** Everything that resolves a path would fail in words of its own. */
function checkWorkingDirectory(): void {
  try {
    process.cwd()
  } catch (error) {
    const why = systemErrorCode(error) === 'ENOENT' ? 'it no longer exists' : messageOf(error)
    throw new OcimountError('FILE_NOT_FOUND', `Cannot use the working directory: ${why}`, {
      cause: error,
    })
  }
}

/** Node.js takes --env-file for its own option wherever it stands, and gives itself what is meant for the container. */
function forgetEnvFiles(): void {
  const given = readFileSync('/proc/self/environ', 'utf8').split('\0')
  const names = new Set(given.map((entry) => entry.split('=')[0]))
  for (const name of Object.keys(process.env)) {
    if (!names.has(name)) Reflect.deleteProperty(process.env, name)
  }
}

function report(error: unknown): number {
  // The reader went away, as in `ocimount ls … | head`: it has what it wanted.
  if (error instanceof OutputClosed) return EXIT.done
  printNote(`ocimount: ${messageOf(error)}`)
  if (wantsDebug()) printCauses(error)
  else if (!isOcimountError(error))
    printNote('ocimount: this is a bug; --log-level debug shows where')
  return isRun(args) ? EXIT.notRun : exitStatusOf(error)
}

function printCauses(error: unknown): void {
  let cause: unknown = error
  for (let depth = 0; cause !== undefined && depth < 10; depth++) {
    const stack = cause instanceof Error ? cause.stack : undefined
    printNote(`  ${depth === 0 ? 'error' : 'caused by'}: ${stack ?? messageOf(cause)}`)
    cause = cause instanceof Error ? cause.cause : undefined
  }
}

function wantsDebug(): boolean {
  const at = args.indexOf('--log-level')
  return args.includes('--log-level=debug') || (at >= 0 && args[at + 1] === 'debug')
}

function version(): string {
  // Above dist/program, or above .build/test/src/cli where the tests run it.
  for (const path of ['../../package.json', '../../../../package.json']) {
    try {
      const text = readFileSync(new URL(path, import.meta.url), 'utf8')
      return String((JSON.parse(text) as { version: unknown }).version)
    } catch {
      continue
    }
  }
  return 'unknown'
}
