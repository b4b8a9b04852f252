// From an answer that is a refusal to an error with the registry's own words.

import { escapeText } from '../byte-string.js'
import type { ErrorCode } from '../errors.js'
import { explainBody, MAX_ERROR_BODY } from './error-body.js'
import { RegistryError } from './registry-error.js'
import { parseRetryAfter } from './retry.js'
import { readBody, type HttpResponse } from './transport.js'

/** Reads the rest of an answer and says what it means; `what` follows "Cannot ". */
export async function responseError(response: HttpResponse, what: string): Promise<RegistryError> {
  const { status, url } = response
  const body = await readBody(response, MAX_ERROR_BODY).catch(() => undefined)
  const words = explainBody(body ?? Buffer.alloc(0), response.header('content-type') ?? '')
  const said = words === undefined ? `status ${status}` : `status ${status}, ${words}`
  const why = `${escapeText(url.host)} ${MEANING.get(status) ?? 'answers'} (${said})`
  return new RegistryError(codeOf(status), `Cannot ${what}: ${why}`, {
    status,
    isTransient: TRANSIENT.has(status),
    retryAfterMs: parseRetryAfter(response.header('retry-after'), Date.now()),
    isUnreachable: status >= 500,
  })
}

function codeOf(status: number): ErrorCode {
  if (status === 404) return 'REFERENCE_NOT_FOUND'
  return status === 401 || status === 403 ? 'REGISTRY_DENIED' : 'REGISTRY_UNAVAILABLE'
}

const TRANSIENT: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504])
const MEANING: ReadonlyMap<number, string> = new Map([
  [401, 'wants to know who asks'],
  [403, 'refuses'],
  [404, 'does not have it'],
  [408, 'waited too long for the request'],
  [416, 'does not have that range'],
  [429, 'limits the rate of requests'],
  [500, 'failed'],
  [502, 'failed'],
  [503, 'is not available'],
  [504, 'failed'],
])
