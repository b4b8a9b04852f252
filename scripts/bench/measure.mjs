// Small tools of the benchmarks: run a command and time it, empty the page cache, medians, tables.

import { spawnSync } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'

/** Runs a command to its end; throws when it fails. Gives seconds and what it printed. */
export function run(command, args, options = {}) {
  const begin = process.hrtime.bigint()
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options })
  const seconds = Number(process.hrtime.bigint() - begin) / 1e9
  if (result.error || result.status !== 0) {
    const why = result.error?.message ?? `exit status ${result.status}\n${result.stderr}`
    throw new Error(`${command} ${args.join(' ')}: ${why}`)
  }
  return { seconds, stdout: result.stdout, stderr: result.stderr }
}

/** Writes everything out and empties page, dentry and inode caches; needs root. */
export function dropCaches() {
  run('sync', [])
  const file = openSync('/proc/sys/vm/drop_caches', 'w')
  writeSync(file, '3')
  closeSync(file)
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Rows as a Markdown table. */
export function table(header, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n')
}

export const seconds = (value) => (value < 10 ? value.toFixed(3) : value.toFixed(1))
