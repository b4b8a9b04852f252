// Everything the commands print. Results go to standard output, everything else to standard error; names
// from images are escaped by the caller with escapeName before they come here.

import { writeSync } from 'node:fs'
import { messageOf, OcimountError, systemErrorCode } from '../errors.js'

/** Writes text to standard output, whole, waiting where a pipe is full. */
export function printResult(text: string): void {
  writeAll(1, text)
}

/** Writes one JSON document; bigints become numbers, maps objects. */
export function printJson(value: unknown): void {
  const text = JSON.stringify(value, jsonReplacer, 2).replace(STEERING, jsonEscape)
  writeAll(1, `${text}\n`)
}

// JSON may hold these as they are, and a terminal obeys them: DEL, the C1 controls, marks of direction, separators.
const STEERING = /[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu

function jsonEscape(character: string): string {
  return Array.from({ length: character.length }, (_, unit) => {
    return `\\u${character.charCodeAt(unit).toString(16).padStart(4, '0')}`
  }).join('')
}

/** Writes a line to standard error. What nobody can read is not worth failing for. */
export function printNote(line: string): void {
  try {
    writeAll(2, `${line}\n`)
  } catch {
    // Closed or full: the exit status tells.
  }
}

/** Prints each as one line on standard error. */
export function printWarnings(warnings: readonly string[]): void {
  for (const warning of warnings) printNote(`ocimount: warning: ${warning}`)
}

/** Writes bytes to standard output as they are. */
export function printBytes(bytes: Uint8Array): void {
  writeAll(1, bytes)
}

/** Signals that the reader of our output has gone, as in `ocimount ls … | head`. Not a failure. */
export class OutputClosed extends Error {}

/** Writes in columns: every column as wide as its widest cell, numbers to the right. */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): string {
  const cells = [header, ...rows].map((row) => row.map(String))
  const widths = header.map((_, column) =>
    Math.max(...cells.map((row) => displayWidth(row[column] ?? ''))),
  )
  const isNumber = header.map(
    (_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number'),
  )
  return cells
    .map((row) =>
      row
        .map((cell, column) => {
          const padding = ' '.repeat((widths[column] ?? 0) - displayWidth(cell))
          return isNumber[column] ? padding + cell : cell + padding
        })
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('')
}

/** How a mount is served, for a person: `kernel (direct) + overlay`. */
export function driverText(
  driver: string | undefined,
  { direct, isWritable }: { readonly direct: boolean; readonly isWritable: boolean },
): string {
  return `${driver ?? '-'}${direct ? ' (direct)' : ''}${isWritable ? ' + overlay' : ''}`
}

/** `1.5 GB` with powers of 1000, as the tools beside us print it. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(value < 9.95 ? 1 : 0)} ${units[unit] ?? ''}`
}

/** Seconds with a sensible number of digits: `0.04 s`, `3.2 s`, `2 min 05 s`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 1) return `${seconds.toFixed(2)} s`
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`
}

// Every code point as one column; good enough for padding, and nothing depends on it.
function displayWidth(text: string): number {
  return Array.from(text).length
}

function jsonReplacer(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (value instanceof Map) return Object.fromEntries(value as Map<string, unknown>)
  return value
}

function writeAll(fd: number, data: string | Uint8Array): void {
  let rest = typeof data === 'string' ? Buffer.from(data, 'utf8') : data
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest))
    } catch (error) {
      // A pipe that another process made non-blocking: wait a moment rather than lose output.
      if (systemErrorCode(error) === 'EAGAIN') {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
        continue
      }
      if (systemErrorCode(error) === 'EPIPE') throw new OutputClosed('standard output was closed')
      throw new OcimountError('STORAGE_FAILED', `Cannot write the result: ${messageOf(error)}`, {
        cause: error,
      })
    }
  }
}
