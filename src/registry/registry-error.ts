// What can go wrong between us and a registry, and whether asking again, or asking somebody else, can help.

import { escapeText } from '../byte-string.js'
import {
  messageOf,
  OcimountError,
  systemErrorCode,
  type ErrorCode,
  type ErrorDetails,
} from '../errors.js'

export interface RegistryErrorOptions {
  readonly cause?: unknown
  /** The same request may succeed later: a lost connection, a full queue, a server in trouble. */
  readonly isTransient?: boolean
  /** How long the server asked to be left alone, in milliseconds. */
  readonly retryAfterMs?: number | undefined
  /** HTTP status. */
  readonly status?: number
  /** Nobody answered, which is what a copy in the cache may stand in for. */
  readonly isUnreachable?: boolean
  readonly details?: ErrorDetails
}

/** A failed request. */
export class RegistryError extends OcimountError {
  readonly isTransient: boolean
  readonly retryAfterMs: number | undefined
  readonly status: number | undefined
  readonly isUnreachable: boolean

  constructor(code: ErrorCode, message: string, options: RegistryErrorOptions = {}) {
    const { status, details } = options
    super(code, message, {
      ...(options.cause === undefined ? {} : { cause: options.cause }),
      details: { ...(status === undefined ? {} : { status }), ...details },
    })
    this.isTransient = options.isTransient ?? false
    this.retryAfterMs = options.retryAfterMs
    this.status = status
    this.isUnreachable = options.isUnreachable ?? false
  }
}

/** Makes the error for a request that got no answer, or lost it on the way. `what` follows "Cannot ". */
export function connectionError(what: string, host: string, error: unknown): RegistryError {
  const code = innermostCode(error)
  const tls = TLS_PROBLEM.test(code)
  const refusal = code.startsWith('ERR_SSL_')
    ? `no secure connection can be made (${code})`
    : `its certificate is refused (${code})`
  const why = REASONS.get(code) ?? (tls ? refusal : reasonOf(error))
  return new RegistryError(
    'REGISTRY_UNAVAILABLE',
    `Cannot ${what}: ${escapeText(host)} cannot be used: ${why}`,
    { cause: error, isTransient: !tls && code !== 'ENOTFOUND', isUnreachable: !tls },
  )
}

/** Makes the error for an answer that is not what the protocol allows. */
export function protocolError(
  what: string,
  why: string,
  details: ErrorDetails = {},
): RegistryError {
  return new RegistryError('REGISTRY_UNAVAILABLE', `Cannot ${what}: ${why}`, { details })
}

/** Gives the code of a failed connection: several addresses may have been tried, all in vain. */
export function innermostCode(error: unknown): string {
  if (error instanceof AggregateError) return innermostCode(error.errors[0])
  const code = systemErrorCode(error)
  const cause = error instanceof Error ? error.cause : undefined
  return code ?? (cause === undefined ? '' : innermostCode(cause))
}

function reasonOf(error: unknown): string {
  const text = error instanceof AggregateError ? messageOf(error.errors[0]) : messageOf(error)
  return escapeText(text.split('\n', 1)[0]?.slice(0, MAX_REASON) ?? '') || 'no reason was given'
}

const MAX_REASON = 200
const TLS_PROBLEM = /^(?:CERT_|ERR_TLS_|ERR_SSL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED|HOSTNAME_)/
const REASONS: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'the connection was refused'],
  ['ECONNRESET', 'the connection was cut'],
  ['EPIPE', 'the connection was cut'],
  ['UND_ERR_SOCKET', 'the connection was cut'],
  ['ENOTFOUND', 'there is no host of that name'],
  ['EAI_AGAIN', 'its name cannot be resolved at the moment'],
  ['EHOSTUNREACH', 'there is no way to that host'],
  ['ENETUNREACH', 'there is no way to its network'],
  ['ETIMEDOUT', 'it does not answer'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'it does not speak TLS'],
  ['ERR_SSL_PACKET_LENGTH_TOO_LONG', 'it does not speak TLS'],
  ['UND_ERR_CONNECT_TIMEOUT', 'it does not answer'],
  ['UND_ERR_HEADERS_TIMEOUT', 'it does not answer'],
  ['UND_ERR_BODY_TIMEOUT', 'it stopped sending'],
])
