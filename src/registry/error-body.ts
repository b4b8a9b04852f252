// What a registry says about a failure, as one line that is safe to print (checklist E-034).

import { escapeText } from '../byte-string.js'

/** Bytes of an error's body that are read at most. */
export const MAX_ERROR_BODY = 64 * 1024

/**
 * Gives the registry's own words, or undefined where it says nothing that a person can use.
 *
 * The body is `{"errors":[{code,message,detail}]}` by the specification; others send text, HTML or a JSON of their own.
 */
export function explainBody(body: Buffer, contentType: string): string | undefined {
  const text = body.toString('utf8').trim()
  if (text === '') return undefined
  const words = wordsOfJson(text)
  if (words !== undefined) return oneLine(words)
  if (/^\s*</.test(text) || contentType.includes('html') || text.startsWith('{')) return undefined
  return oneLine(text)
}

function wordsOfJson(text: string): string | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const fields = value as Readonly<Record<string, unknown>>
  const errors: unknown[] = Array.isArray(fields['errors']) ? fields['errors'] : [value]
  const words = errors
    .slice(0, MAX_ERRORS)
    .map(wordsOfError)
    .filter((word) => word !== '')
  return words.length === 0 ? undefined : words.join('; ')
}

function wordsOfError(error: unknown): string {
  if (typeof error === 'string') return error
  if (typeof error !== 'object' || error === null) return ''
  const fields = error as Readonly<Record<string, unknown>>
  const parts = ['code', 'error', 'message', 'error_description', 'details']
    .map((name) => fields[name])
    .filter((part): part is string => typeof part === 'string' && part.trim() !== '')
  return [...new Set(parts)].join(': ')
}

function oneLine(text: string): string | undefined {
  const line = text.replace(/\s+/g, ' ').trim()
  const shown = line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN)}…` : line
  const safe = escapeText(shown).replace(/\.+$/, '')
  return safe === '' ? undefined : safe
}

const MAX_ERRORS = 3
const MAX_SHOWN = 300
