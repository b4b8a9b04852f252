// Small tools of the benchmarks: run a command and time it, empty the page cache, samples and their medians, tables.

import { spawnSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'

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

/** What is mounted below a directory, innermost first; for names without blanks. */
export function mountsBelow(directory) {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${directory}/`))
    .reverse()
}

export function sleep(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}

/** What was measured: lists of numbers by name, `part.subject.what`, in the order of the runs. */
export class Samples {
  constructor(values = {}) {
    this.values = values
  }

  /** Keeps one number and says so, for whoever waits. */
  add(name, value) {
    ;(this.values[name] ??= []).push(value)
    process.stderr.write(`${name}: ${Number(value.toPrecision(4))}\n`)
  }

  /** Undefined where nothing was measured. */
  median(name) {
    const sorted = [...(this.values[name] ?? [])].sort((a, b) => a - b)
    const middle = sorted.length >> 1
    return sorted.length % 2
      ? sorted[middle]
      : (sorted[middle - 1] + sorted[middle]) / 2 || undefined
  }

  /** The ratio of two medians; undefined where one was not measured. */
  ratio(name, other) {
    const ratio = this.median(name) / this.median(other)
    return Number.isNaN(ratio) ? undefined : ratio
  }
}

/** Rows as a Markdown table; undefined cells are n/a. */
export function table(header, rows) {
  const cells = [header, ...rows].map((row) => row.map((cell) => cell ?? 'n/a'))
  const widths = header.map((_, column) => Math.max(3, ...cells.map((row) => row[column].length)))
  const line = (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return [line(cells[0]), rule, ...cells.slice(1).map(line)].join('\n')
}

/** Formats; each passes undefined on. */
export const seconds = (value) => value?.toFixed(value < 10 ? 3 : 1).concat(' s')
export const times = (ratio) => ratio?.toFixed(ratio < 10 ? 2 : 0).concat('×')
export const megabytes = (bytes) => bytes && `${(bytes / 1e6).toFixed(0)} MB`
