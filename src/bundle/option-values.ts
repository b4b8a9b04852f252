// Single values of a command line, parsed.

import { OcimountError } from '../errors.js'
import { quote } from '../image/quote.js'

/**
 * Parses --env: `NAME=value`, or `NAME` for the value that the caller's own environment has, if any. Of one name the last
 * value counts.
 *
 * @throws OcimountError `USAGE` for an empty name
 */
export function parseEnv(
  texts: readonly string[],
  own: Readonly<Record<string, string | undefined>>,
): string[] {
  const entries: string[] = []
  for (const text of texts) {
    if (text === '' || text.startsWith('=')) throw invalid('variable', text, 'it has no name')
    if (text.includes('=')) {
      entries.push(text)
      continue
    }
    const value = Object.hasOwn(own, text) ? own[text] : undefined
    if (value !== undefined) entries.push(`${text}=${value}`)
  }
  return entries
}

/**
 * Parses what an --env-file holds: a line as --env has it each, with blank lines and those that begin with `#` left out. Quotes are
 * part of a value, and white space at a line's beginning is not.
 *
 * @param path escaped, for the message
 * @throws OcimountError `USAGE` for bytes that are no text, and a line with an empty name or white space in it
 */
export function parseEnvFile(
  bytes: Uint8Array,
  path: string,
  own: Readonly<Record<string, string | undefined>>,
): string[] {
  const fail = (line: number, why: string): never => {
    throw new OcimountError('USAGE', `Cannot use line ${line} of ${path}: ${why}`)
  }
  return decodeLines(bytes, path).flatMap((line, index) => {
    const text = line.trimStart()
    if (text === '' || text.startsWith('#')) return []
    const [name = ''] = text.split('=')
    if (name === '') fail(index + 1, 'the variable has no name')
    if (/\s/.test(name)) fail(index + 1, `there is white space in the name ${quote(name)}`)
    if (text.includes('\0')) fail(index + 1, 'there is a NUL in it')
    return parseEnv([text], own)
  })
}

function decodeLines(bytes: Uint8Array, path: string): string[] {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes).split(/\r?\n/)
  } catch (error) {
    throw new OcimountError('USAGE', `Cannot use ${path}: it is not UTF-8`, { cause: error })
  }
}

/**
 * Parses --entrypoint: a JSON array of strings, or a program without arguments; an empty text is no entrypoint.
 *
 * @throws OcimountError `USAGE` for another array
 */
export function parseEntrypoint(text: string): string[] {
  if (text === '') return []
  if (!text.startsWith('[')) return [text]
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw invalid('entrypoint', text, 'it begins like a JSON array and is none')
  }
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
  throw invalid('entrypoint', text, 'it is not an array of strings')
}

/**
 * Parses --annotation: `KEY=VALUE`.
 *
 * @throws OcimountError `USAGE`
 */
export function parseAnnotations(texts: readonly string[]): Map<string, string> {
  return new Map(
    texts.map((text) => {
      const end = text.indexOf('=')
      if (end <= 0) throw invalid('annotation', text, 'it is not of the form KEY=VALUE')
      return [text.slice(0, end), text.slice(end + 1)]
    }),
  )
}

/**
 * Takes --hostname.
 *
 * @throws OcimountError `USAGE` for what Linux or DNS cannot have: at most 64 letters, digits, hyphens and dots
 */
export function parseHostname(text: string): string {
  const isValid = /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(text) && text.length <= 64
  if (isValid) return text
  throw invalid('host name', text, 'it may have up to 64 letters, digits, hyphens and dots')
}

/**
 * Parses --cpus: a number of processors above 0, up to three decimals.
 *
 * @throws OcimountError `USAGE`
 */
export function parseCpus(text: string): number {
  const value = /^[0-9]{1,5}(?:\.[0-9]{1,3})?$/.test(text) ? Number(text) : 0
  // The kernel gives no less than a millisecond in a period of a tenth of a second.
  if (value >= 0.01) return value
  throw invalid('number of processors', text, 'it is not a number from 0.01 such as 1.5')
}

/**
 * Parses --pids-limit: a number of processes, or -1 for no limit.
 *
 * @throws OcimountError `USAGE`
 */
export function parsePidsLimit(text: string): number {
  const value = /^(?:-1|[1-9][0-9]{0,9})$/.test(text) ? Number(text) : 0
  if (value !== 0) return value
  throw invalid('limit of processes', text, 'it is neither a number from 1 nor -1')
}

function invalid(what: string, text: string, why: string): OcimountError {
  return new OcimountError('USAGE', `Cannot use ${what} ${quote(text)}: ${why}`)
}
