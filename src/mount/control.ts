// How another process talks to a serving process: one request a connection over control.sock in the state
// directory, which is 0700, so that whoever can connect is the same user or root.
//
//   → {"op":"status"}            ← {"ok":true,"result":{…}}
//   → {"op":"unmount","lazy":true}  ← {"ok":true,"result":{}}  or  {"ok":false,"error":{"code":…,"message":…}}
//
// Each is one line of JSON.

import { open, rm } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { basename, dirname } from 'node:path'
import { escapeText } from '../byte-string.js'
import { isOcimountError, messageOf, OcimountError, type ErrorCode } from '../errors.js'
import { log } from '../logger.js'
import { ERRNO_OF_CODE } from './errno.js'
import { controlPath, type MountRecord } from './state.js'

/** What the serving process can be asked. */
export interface ControlHandlers {
  status(): MountStatus | Promise<MountStatus>
  unmount(options: { readonly lazy: boolean }): Promise<void>
}

/** The record, and what only the process knows. */
export interface MountStatus {
  readonly record: MountRecord
  readonly [fact: string]: unknown
}

/** A listening control socket. */
export interface ControlServer {
  close(): Promise<void>
}

const MAX_LINE_BYTES = 1 << 20
const IDLE_TIMEOUT_MS = 10_000
/** A process that was stopped never answers; one that lists what a large image cannot show needs a second or two. */
const ANSWER_TIMEOUT_MS = 10_000
/** Unmounting a busy disk can take its time. */
const UNMOUNT_TIMEOUT_MS = 60_000
/** `sun_path` has 108 bytes, NUL included. */
const MAX_SOCKET_PATH_BYTES = 107

/**
 * Listens in a state directory. Does not keep the process alive.
 *
 * @throws OcimountError `STORAGE_FAILED`
 */
export async function serveControl(
  directory: string,
  handlers: ControlHandlers,
): Promise<ControlServer> {
  const path = controlPath(directory)
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    void answer(socket, handlers)
  })
  server.unref()
  try {
    await rm(path, { force: true })
    await withShortPath(path, async (address) => {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(address, resolve)
      })
    })
  } catch (error) {
    throw new OcimountError(
      'STORAGE_FAILED',
      `Cannot listen on ${escapeText(path)}: ${escapeText(messageOf(error))}`,
      { cause: error },
    )
  }
  server.on('error', (error) => {
    log.warn({}, `The control socket failed: ${messageOf(error)}`)
  })
  return {
    close: async () => {
      await new Promise<void>((resolve) => {
        server.close(() => {
          resolve()
        })
      })
      await rm(path, { force: true })
    },
  }
}

/**
 * Asks the serving process of a state directory how it is.
 *
 * @throws OcimountError `NOT_MOUNTED` when nobody answers
 */
export async function requestStatus(directory: string): Promise<MountStatus> {
  return (await request(directory, { op: 'status' })) as MountStatus
}

/**
 * Has the serving process unmount. Returns when the mount is detached.
 *
 * @throws OcimountError `NOT_MOUNTED` when nobody answers, and what the process itself met: `MOUNT_BUSY`, …
 */
export async function requestUnmount(
  directory: string,
  options: { readonly lazy?: boolean } = {},
): Promise<void> {
  const lazy = options.lazy ?? false
  await request(directory, { op: 'unmount', lazy }, lazy ? ANSWER_TIMEOUT_MS : UNMOUNT_TIMEOUT_MS)
}

async function answer(socket: Socket, handlers: ControlHandlers): Promise<void> {
  socket.setTimeout(IDLE_TIMEOUT_MS, () => socket.destroy())
  socket.on('error', (error) => {
    log.debug({}, `A control connection failed: ${messageOf(error)}`)
  })
  let reply: unknown
  try {
    const line = await readLine(socket)
    // From here on the answer may take longer.
    socket.setTimeout(0)
    reply = { ok: true, result: await run(line, handlers) }
  } catch (error) {
    const code: ErrorCode = isOcimountError(error) ? error.code : 'INTERNAL'
    reply = { ok: false, error: { code, message: messageOf(error) } }
  }
  if (!socket.destroyed) socket.end(`${JSON.stringify(reply)}\n`)
}

async function run(line: string, handlers: ControlHandlers): Promise<unknown> {
  const message = parse(line)
  switch (message['op']) {
    case 'status':
      return await handlers.status()
    case 'unmount':
      await handlers.unmount({ lazy: message['lazy'] === true })
      return {}
    default:
      throw new OcimountError('USAGE', 'Cannot answer a control request: it is not known')
  }
}

async function request(
  directory: string,
  message: unknown,
  timeoutMs = ANSWER_TIMEOUT_MS,
): Promise<unknown> {
  const path = controlPath(directory)
  let reply: Record<string, unknown>
  try {
    const line = await withShortPath(path, async (address) => exchange(address, message, timeoutMs))
    reply = parse(line)
  } catch (error) {
    throw new OcimountError(
      'NOT_MOUNTED',
      `Cannot ask the process that serves mount ${escapeText(basename(directory))}: ${escapeText(messageOf(error))}`,
      { cause: error },
    )
  }
  if (reply['ok'] === true) return reply['result']
  const { code, message: why } = (reply['error'] ?? {}) as Record<string, unknown>
  throw new OcimountError(isCode(code) ? code : 'INTERNAL', String(why))
}

async function exchange(address: string, message: unknown, timeoutMs: number): Promise<string> {
  const socket = createConnection(address)
  socket.setTimeout(timeoutMs, () => {
    socket.destroy(new Error('it does not answer'))
  })
  try {
    socket.write(`${JSON.stringify(message)}\n`)
    return await readLine(socket)
  } finally {
    socket.destroy()
  }
}

async function readLine(socket: Socket): Promise<string> {
  return await new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    socket.on('data', (chunk: Buffer) => {
      const end = chunk.indexOf(0x0a)
      chunks.push(end < 0 ? chunk : chunk.subarray(0, end))
      length += chunk.length
      if (end >= 0) resolve(Buffer.concat(chunks).toString('utf8'))
      else if (length > MAX_LINE_BYTES) socket.destroy(new Error('the line is too long'))
    })
    socket.on('error', reject)
    socket.on('close', () => {
      reject(new Error('the connection was closed'))
    })
  })
}

function parse(line: string): Record<string, unknown> {
  const value: unknown = JSON.parse(line)
  if (typeof value !== 'object' || value === null) throw new TypeError('not an object')
  return value as Record<string, unknown>
}

function isCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && value in ERRNO_OF_CODE
}

/** Gives a long path a short name while `use` runs: through a descriptor of its directory. */
async function withShortPath<T>(path: string, use: (address: string) => Promise<T>): Promise<T> {
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) return await use(path)
  const handle = await open(dirname(path), 'r')
  try {
    return await use(`/proc/self/fd/${handle.fd}/${basename(path)}`)
  } finally {
    await handle.close()
  }
}
