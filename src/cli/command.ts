// One call of `ocimount`: parses, runs, and turns whatever was thrown into one line and an exit status.

import { readFileSync } from 'node:fs'
import { isOcimountError, messageOf, OcimountError, systemErrorCode } from '../errors.js'
import { isRun, type ServerProcess } from './early-server.js'
import { EXIT, exitStatusOf } from './exit-codes.js'
import { OutputClosed, printNote } from './output.js'
import { adoptServer, discardServer } from './server-process.js'

/** Does what the arguments say, with the serving process that was started early if there is one; sets the exit status. */
export async function runCommand(
  args: readonly string[],
  server: ServerProcess | undefined,
): Promise<void> {
  adoptServer(server)
  try {
    checkWorkingDirectory()
    if (isRun(args) && process.geteuid?.() !== 0) {
      const { enterUserNamespace } = await import('./user-namespace.js')
      await enterUserNamespace(args)
    }
    // Loaded here, since yargs asks for the working directory by itself.
    const { runProgram } = await import('./program.js')
    process.exitCode = await runProgram(args, version())
  } catch (error) {
    process.exitCode = report(error, args)
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

function report(error: unknown, args: readonly string[]): number {
  // The reader went away, as in `ocimount ls … | head`: it has what it wanted.
  if (error instanceof OutputClosed) return EXIT.done
  printNote(`ocimount: ${messageOf(error)}`)
  if (wantsDebug(args)) printCauses(error)
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

function wantsDebug(args: readonly string[]): boolean {
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
