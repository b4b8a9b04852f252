// The only door to pino. Library code logs through `log`; nothing is written until a program asks for it,
// and pino itself is loaded only then, since a command that logs nothing should not wait for it.

import type { DestinationStream, Logger as PinoLogger } from 'pino'

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
 * Authorization headers, tokens and passwords are redacted wherever they appear as a field.
 */
export async function configureLogger(options: { level: LogLevel; file?: string }): Promise<void> {
  if (options.level === 'silent') {
    sink = silent
    return
  }
  const { pino } = await import('pino')
  const destination: DestinationStream = pino.destination(
    options.file === undefined
      ? { dest: 2, sync: true }
      : { dest: options.file, sync: true, append: true, mode: 0o600 },
  )
  const logger: PinoLogger = pino(
    {
      level: options.level,
      base: { pid: process.pid },
      redact: { paths: SECRET_PATHS, censor: '[redacted]' },
    },
    destination,
  )
  sink = logger
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
