// Runs the command as a person would: the program in a process of its own.

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** What users run, bundled: it starts in half the time of the modules that the tests are compiled to. */
export const MAIN = fileURLToPath(new URL('../../../../dist/program/main.js', import.meta.url))

export interface CliResult {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly uid?: number
  readonly gid?: number
  readonly input?: Uint8Array
  readonly timeoutMs?: number
}

/**
 * The command as a program and its first arguments. Without what tap gives every process of Node.js to preload: it
 * more than doubles the time that a command takes, and fails by itself where there is no working directory.
 */
export const COMMAND = ['env', '-u', 'NODE_OPTIONS', process.execPath, MAIN] as const

/** Runs `ocimount ARGS` to its end. Never rejects because of an exit status. */
export async function runCli(
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliResult> {
  const [program, ...first] = COMMAND
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      [...first, ...args],
      {
        encoding: 'utf8',
        maxBuffer: 1 << 28,
        timeout: options.timeoutMs ?? 120_000,
        env: { ...process.env, ...options.env },
        cwd: options.cwd,
        uid: options.uid,
        gid: options.gid,
      },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code !== 'number') {
          reject(new Error(`ocimount ${args.join(' ')}: ${error.message}\n${stderr}`))
          return
        }
        resolve({ status: child.exitCode, stdout, stderr })
      },
    )
    if (options.input !== undefined) child.stdin?.end(options.input)
  })
}

/** Starts `ocimount ARGS` and leaves it running. */
export function spawnCli(args: readonly string[], options: CliOptions = {}): ChildProcess {
  const [program, ...first] = COMMAND
  return spawn(program, [...first, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    cwd: options.cwd,
  })
}

/** Why a test that mounts cannot run here, or false. */
export function whyNoMounts(): string | false {
  return existsSync('/dev/fuse') ? false : 'there is no /dev/fuse on this machine'
}

/** Where real images lie, or undefined. */
export function corpora(): string | undefined {
  const path = process.env['OCIMOUNT_CORPORA'] ?? '../shared/corpora'
  return existsSync(path) ? path : undefined
}
