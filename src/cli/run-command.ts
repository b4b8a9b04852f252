// `ocimount run IMAGE [-- ARGS…]`
//
// Once the bundle is mounted this process becomes the runtime, by execve(2): terminal, signals and exit status are the
// runtime's own from then on, and no process of ours waits for a container. The server that the mount is on watches this
// process, and takes everything away when it has ended (mount/reference.ts).

import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { open, readFile, type FileHandle } from 'node:fs/promises'
import { constants } from 'node:os'
import { join } from 'node:path'
import { findRuntime } from '../bundle/runtime.js'
import { escapeText } from '../byte-string.js'
import { currentOwnerTag, ownerTagOf } from '../cache/process-owner.js'
import { messageOf, OcimountError } from '../errors.js'
import { requestHold } from '../mount/control.js'
import { findMount } from '../mount/list-mounts.js'
import { containersDirectory, openRuntimeDir } from '../mount/runtime-dir.js'
import { isInitialUserNamespace } from '../mount/user-namespace.js'
import { loadNative } from '../native.js'
import { askServer } from './ask-server.js'
import { warnOf } from './bundle-command.js'
import type { BundleRequest, BundleSummary } from './bundle-request.js'
import type { CommandArguments } from './commands.js'
import { parseContainerOptions } from './container-request.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { toImageRequest } from './mount-request.js'
import { printJson, printNote, printResult } from './output.js'

/** Runs a container; comes back only where it is detached, or the addon is missing. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const cwd = process.cwd()
  const runtime = [await findRuntime(args.runtime), ...(await runtimeOptions())]
  const id = args.name ?? `ocimount-${randomBytes(6).toString('hex')}`
  checkId(id)
  const request: BundleRequest = {
    kind: 'bundle',
    ...toImageRequest(args, cwd),
    driver: args.driver,
    directory: join(await containersDirectory(), id),
    isPrivate: !args.keep,
    mounts: true,
    hooks: false,
    options: { ...(await parseContainerOptions(args, cwd)), id, mustStart: true },
    container: { id, runtime, holder: currentOwnerTag() },
  }
  const summary = await askServer<BundleSummary>(request, args.quiet)
  if (!args.quiet) warnOf(summary)
  if (args.keep && !args.quiet) printNote(`ocimount: bundle in ${escapeText(summary.directory)}`)
  if (args.detach) return runDetached(args, runtime, { id, summary })
  return becomeRuntime([...runtime, 'run', '--bundle', summary.directory, id])
}

/** In a user namespace the runtime may not keep its state where root's is. */
async function runtimeOptions(): Promise<string[]> {
  if (await isInitialUserNamespace()) return []
  return ['--root', join(await openRuntimeDir(), 'runtime')]
}

function checkId(id: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(id)) return
  throw new OcimountError(
    'USAGE',
    `Cannot use the name ${escapeText(id)}: it may have up to 128 letters, digits, hyphens, dots and underscores`,
  )
}

async function becomeRuntime(command: readonly string[]): Promise<ExitStatus> {
  const [program = ''] = command
  const native = loadNative()
  if (native === undefined) return waitForRuntime(command)
  const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value ?? ''}`)
  try {
    return native.execve(program, command, environment)
  } catch (error) {
    throw cannotStart(program, error)
  }
}

/** Runs the runtime as a child, passes signals on, and ends as it does. */
async function waitForRuntime(command: readonly string[]): Promise<ExitStatus> {
  const [program = '', ...args] = command
  const child = spawn(program, args, { stdio: 'inherit' })
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const
  for (const signal of signals) process.on(signal, () => child.kill(signal))
  return (await endOf(child, program)) as ExitStatus
}

/** Starts the container, prints its id and leaves it; the server then watches its first process. */
async function runDetached(
  args: CommandArguments,
  runtime: readonly string[],
  { id, summary }: { readonly id: string; readonly summary: BundleSummary },
): Promise<ExitStatus> {
  const { directory } = summary
  const [program = '', ...first] = runtime
  const pidFile = join(directory, 'pid')
  const logPath = join(directory, 'output')
  const output = await open(logPath, 'a', 0o600)
  try {
    const child = spawn(
      program,
      [...first, 'run', '--detach', '--pid-file', pidFile, '--bundle', directory, id],
      { stdio: ['ignore', output.fd, output.fd] },
    )
    const status = await endOf(child, program)
    if (status !== 0) {
      throw cannotStart(program, (await lastLine(logPath)) || `exit status ${status}`)
    }
  } finally {
    await closeQuietly(output)
  }
  const pid = Number(await readFile(pidFile, 'utf8'))
  const holder = ownerTagOf(pid)
  const found = await findMount(summary.rootfs)
  // One that has ended already has no tag; the server sees us end then.
  if (holder !== undefined && found !== undefined) await requestHold(found.directory, holder)
  if (args.json) printJson({ ...summary, container: id, containerPid: pid, output: logPath })
  else printResult(`${id}\n`)
  return EXIT.done
}

async function closeQuietly(file: FileHandle): Promise<void> {
  await file.close().catch(() => undefined)
}

async function lastLine(path: string): Promise<string> {
  const text = (await readFile(path, 'utf8')).trimEnd()
  return text.slice(text.lastIndexOf('\n') + 1)
}

function endOf(child: ChildProcess, program: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      reject(cannotStart(program, error))
    })
    child.once('exit', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
    })
  })
}

function cannotStart(program: string, why: unknown): OcimountError {
  const reason = escapeText(messageOf(why))
  return new OcimountError(
    'RUNTIME_FAILED',
    `Cannot start the container with ${escapeText(program)}: ${reason}`,
    { cause: why },
  )
}
