// The only door to pino. Library code logs through `log`; nothing is written until a program asks for it,
// and pino itself is loaded with the first line.

import { createRequire } from 'node:module'
import type { DestinationStream, Logger as PinoLogger, pino as createPino } from 'pino'

export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug' | 'trace'

/** Facts that go with a line. Never a secret, never an unescaped name from an image. */
export type LogFields = Readonly<Record<string, unknown>>

interface LogSink {
  error(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  debug(fields: LogFields, message: string): void
}

const silent: LogSink = { error: ignore, warn: ignore, info: ignore, debug: ignore }
let sink: LogSink = silent

/** Writes log lines to where {@link configureLogger} said, to nowhere before that. */
export const log: LogSink = {
  error: (fields, message) => {
    sink.error(fields, message)
  },
  warn: (fields, message) => {
    sink.warn(fields, message)
  },
  info: (fields, message) => {
    sink.info(fields, message)
  },
  debug: (fields, message) => {
    sink.debug(fields, message)
  },
}

/**
 * Sends log lines of the given level and above, as one JSON object each, to a file or to standard error.
 *
 * The file is made with the first line. Authorization headers, tokens and passwords are redacted wherever they appear
 * as a field.
 */
export function configureLogger(options: LoggerOptions): void {
  const least = LEVELS.indexOf(options.level)
  let logger: PinoLogger | undefined
  const writer = (level: (typeof LEVELS)[number] & keyof LogSink): LogSink['error'] => {
    if (LEVELS.indexOf(level) < least) return ignore
    return (fields, message) => {
      // Loading it takes longer than a second mount's whole work, and most mounts have nothing to say.
      logger ??= openPino(options)
      logger[level](fields, message)
    }
  }
  sink = {
    error: writer('error'),
    warn: writer('warn'),
    info: writer('info'),
    debug: writer('debug'),
  }
}

export interface LoggerOptions {
  readonly level: LogLevel
  /** Default: standard error. */
  readonly file?: string
}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const

function openPino({ level, file }: LoggerOptions): PinoLogger {
  const { pino } = createRequire(import.meta.url)('pino') as { pino: typeof createPino }
  const destination: DestinationStream = pino.destination(
    file === undefined
      ? { dest: 2, sync: true }
      : { dest: file, sync: true, append: true, mode: 0o600 },
  )
  return pino(
    {
      level,
      base: { pid: process.pid },
      redact: { paths: SECRET_PATHS, censor: '[redacted]' },
    },
    destination,
  )
}

const SECRET_FIELDS = [
  'authorization',
  'password',
  'token',
  'secret',
  'identitytoken',
  'registrytoken',
]
const SECRET_PATHS = SECRET_FIELDS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`])

function ignore(): void {
  // A log line that nobody asked for.
}
