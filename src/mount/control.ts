// How another process talks to a serving process: one request a connection over control.sock in the state
// directory, which is 0700, so that whoever can connect is the same user or root.
//
//   → {"op":"status"}            ← {"ok":true,"result":{…}}
//   → {"op":"unmount","lazy":true}  ← {"ok":true,"result":{…}}  or  {"ok":false,"error":{"code":…,"message":…}}
//   → {"op":"hold","holder":"…"}    ← {"ok":true,"result":{}}
//   → {"op":"attach","attachment":{…}}  ← {"ok":true,"result":{…}}
//
// Each is one line of JSON. A lower (see lower.ts) takes `attach` alone, a mount the others, `hold` where it has a container.

import { open, rm } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { basename, dirname } from 'node:path'
import { escapeText } from '../byte-string.js'
import { isOcimountError, messageOf, OcimountError, type ErrorCode } from '../errors.js'
import { log } from '../logger.js'
import { ERRNO_OF_CODE } from './errno.js'
import type { Attachment } from './attachment.js'
import { controlPath, type MountRecord } from './state.js'

/** What the serving process can be asked. */
export interface ControlHandlers {
  status(): MountStatus | Promise<MountStatus>
  unmount(options: { readonly lazy: boolean }): Promise<UnmountOutcome>
}

/** What the server of a mount can be asked for its container. */
export interface ContainerHandlers extends ControlHandlers {
  /** Makes the end of another process that of the container. */
  hold(holder: string): Promise<void>
}

/** What a server of a lower can be asked. */
export interface LowerHandlers {
  attach(attachment: Attachment): Promise<MountRecord>
}

type Handlers = ControlHandlers | ContainerHandlers | LowerHandlers

export interface UnmountOutcome {
  /** Nothing else needs the serving process: it ends. */
  readonly endsServer: boolean
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
export async function serveControl(directory: string, handlers: Handlers): Promise<ControlServer> {
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
): Promise<UnmountOutcome> {
  const lazy = options.lazy ?? false
  const timeoutMs = lazy ? ANSWER_TIMEOUT_MS : UNMOUNT_TIMEOUT_MS
  return (await request(directory, { op: 'unmount', lazy }, timeoutMs)) as UnmountOutcome
}

/**
 * Has the server end a container's mount with another process than so far.
 *
 * @throws OcimountError `NOT_MOUNTED` when nobody answers
 */
export async function requestHold(directory: string, holder: string): Promise<void> {
  await request(directory, { op: 'hold', holder })
}

/**
 * Has the server of a lower mount it at one more place, and gives the record of that mount.
 *
 * @throws OcimountError `NOT_MOUNTED` when nobody answers, or the server is about to end; and what mounting met
 */
export async function requestAttach(
  directory: string,
  attachment: Attachment,
): Promise<MountRecord> {
  const message = { op: 'attach', attachment }
  return (await request(directory, message, UNMOUNT_TIMEOUT_MS)) as MountRecord
}

async function answer(socket: Socket, handlers: Handlers): Promise<void> {
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

async function run(line: string, handlers: Handlers): Promise<unknown> {
  const message = parse(line)
  switch (message['op']) {
    case 'status':
      if ('status' in handlers) return await handlers.status()
      break
    case 'unmount':
      if ('unmount' in handlers) {
        return await handlers.unmount({ lazy: message['lazy'] === true })
      }
      break
    case 'hold':
      if (!('hold' in handlers)) break
      await handlers.hold(String(message['holder']))
      return {}
    case 'attach':
      // Whoever can connect is this user, with this version or one that knows the same record.
      if ('attach' in handlers) return await handlers.attach(message['attachment'] as Attachment)
  }
  throw new OcimountError('USAGE', 'Cannot answer a control request: it is not known')
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
