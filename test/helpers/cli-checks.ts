// What must hold after a command, whatever it was given: one clear line, and nothing left behind.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { Cache } from '../../src/cache/cache.js'
import type { CliFixture } from './cli-fixture.js'
import type { CliOptions } from './run-cli.js'

export interface Refusal {
  readonly status: number
  /** What the line says after `ocimount: Cannot …`. */
  readonly why: RegExp
}

/** Bytes that make a terminal do something: C0 and C1 controls other than the newline, and bidirectional overrides. */
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
export const TERMINAL_CODES = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/

const DEADLINE_MS = 20_000
const POLL_MS = 20

/** Runs a command that must fail with one line; gives that line. */
export async function refuses(
  t: Test,
  fixture: CliFixture,
  args: readonly string[],
  { status, why }: Refusal,
  options: CliOptions = {},
): Promise<string> {
  const shown = args.join(' ')
  const result = await fixture.ocimount(args, options)
  t.equal(result.status, status, `exit status of ${shown}: ${result.stderr}`)
  t.match(result.stderr, /^ocimount: Cannot [^\n]+[^\n.]\n$/, `one line for ${shown}`)
  t.match(result.stderr, why)
  t.equal(TERMINAL_CODES.test(result.stderr), false, 'nothing that steers a terminal')
  t.equal(result.stdout, '', 'no result')
  return result.stderr
}

/** Checks that no mount, state, process or temporary file of the fixture is there, and that its cache is sound. */
export async function leavesNothing(t: Test, fixture: CliFixture): Promise<void> {
  t.strictSame(fixture.mounts(), [], 'nothing is mounted')
  // The command answers as soon as it knows; the serving process ends a moment later.
  await becomes(() => processesOf(fixture).length === 0)
  t.strictSame(processesOf(fixture), [], 'no process is left')
  t.strictSame(namesIn(fixture.env['OCIMOUNT_RUNTIME_DIR']), [], 'no state is left')
  t.strictSame(namesIn(join(cacheOf(fixture), 'tmp')), [], 'nothing half-written is left')
  t.strictSame(namesIn(join(cacheOf(fixture), 'leases')), [], 'no lease is left')
  t.strictSame(await badEntries(fixture), [], 'every entry of the cache hashes to what it must')
}

/** What `ocimount cache verify` tells; without that process, which takes longer than the rest, unless the cache is another user's. */
async function badEntries(fixture: CliFixture): Promise<readonly unknown[]> {
  const dir = cacheOf(fixture)
  if (!existsSync(dir) || statSync(dir).uid === process.getuid?.()) {
    return (await (await Cache.open({ dir })).verify()).bad
  }
  const { stdout, stderr } = await fixture.ocimount(['cache', 'verify', '--json'])
  if (stdout === '') throw new Error(stderr)
  return (JSON.parse(stdout) as { bad: unknown[] }).bad
}

/** Calls a function for every item, some at a time. */
export async function forEachOf<T>(
  items: readonly T[],
  use: (item: T) => Promise<unknown>,
  atOnce = 3,
): Promise<void> {
  const waiting = [...items]
  const work = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await use(item)
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}

/** Gives the command lines of processes that run with the fixture's directories. */
export function processesOf(fixture: CliFixture): string[] {
  const mark = `OCIMOUNT_RUNTIME_DIR=${fixture.env['OCIMOUNT_RUNTIME_DIR'] ?? ''}\0`
  const found: string[] = []
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      // A zombie's environment is empty, so that what only waits to be reaped does not count.
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark)) continue
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ')
      found.push(`${pid} ${command.trim()}`)
    } catch {
      // Gone in the meantime, or not ours to look at.
      continue
    }
  }
  return found
}

/** Waits until a condition holds that nothing announces; gives false when it never does. */
export async function becomes(condition: () => boolean | Promise<boolean>): Promise<boolean> {
  const deadlineMs = Date.now() + DEADLINE_MS
  for (;;) {
    if (await condition()) return true
    if (Date.now() > deadlineMs) return false
    await sleep(POLL_MS)
  }
}

export function cacheOf(fixture: CliFixture): string {
  return fixture.env['OCIMOUNT_CACHE_DIR'] ?? ''
}

function namesIn(directory: string | undefined): string[] {
  return directory !== undefined && existsSync(directory) ? readdirSync(directory).sort() : []
}
