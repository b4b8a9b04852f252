// A registry that is made from the distribution specification alone, and misbehaves as it is told: per request a fault, for all of
// them latency, a bandwidth, tokens that end, storage on another host with addresses that run out. It counts requests and bytes.

import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import type { BuiltImage, BuiltIndex } from './build-image.js'
import { OCI, sha256 } from './build-image.js'

/** What a request is about. */
export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly kind: 'manifest' | 'blob' | 'token' | 'storage' | 'ping' | 'other'
  readonly range: string | undefined
  readonly authorization: string | undefined
  readonly accept: string | undefined
  readonly userAgent: string | undefined
  /** How many requests with this method and path came before. */
  readonly repeats: number
}

/** How to misbehave; several at once where that makes sense. */
export interface Fault {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Buffer
  /** Closes the connection after that many bytes of the body. */
  readonly cutAfter?: number
  /** Sends no more after that many bytes of the body, and leaves the connection open. */
  readonly stallAfter?: number
  readonly latencyMs?: number
  /** Sends one byte of the body in that time. */
  readonly dripMs?: number
  /** For this answer alone, beside what all answers share. */
  readonly bytesPerSecond?: number
  /** Answers 200 with the whole blob to whatever range was asked for. */
  readonly ignoreRange?: boolean
  /** Says so in place of the truth. */
  readonly contentRange?: string
  readonly multipart?: boolean
  /** Packs the body and says so. */
  readonly gzip?: boolean
  /** Flips a bit of that byte of the body. */
  readonly flipAt?: number
}

export interface FaultRegistryOptions {
  readonly fault?: (request: SeenRequest) => Fault | undefined
  /** For all answers together. */
  readonly bytesPerSecond?: number
  readonly latencyMs?: number
  /** Where to listen; default: anywhere. */
  readonly port?: number
  readonly tls?: { readonly key: string | Buffer; readonly cert: string | Buffer }
  /** Wants to know who asks; `anonymous` tokens are given to anybody. */
  readonly auth?: {
    readonly kind: 'bearer' | 'basic'
    readonly users?: Readonly<Record<string, string>>
    readonly identityToken?: string
    readonly lifeMs?: number
    /** What the answer says about the life of a token. */
    readonly expiresIn?: number
    readonly realm?: string
  }
  /** Blobs lie on another server, whose addresses are good for so long. */
  readonly storageLifeMs?: number
}

interface Stored {
  readonly bytes: Buffer
  readonly type: string
}

interface Teardown {
  teardown(handler: () => void | Promise<void>): void
}

export class FaultRegistry {
  readonly requests: SeenRequest[] = []
  /** Of bodies. */
  bytesSent = 0
  options: FaultRegistryOptions
  readonly #manifests = new Map<string, Stored>()
  readonly #blobs = new Map<string, Buffer>()
  readonly #tokens = new Map<string, number>()
  readonly #signatures = new Map<string, number>()
  readonly #servers: Server[] = []
  #freeAtMs = 0
  /** Bodies that are being sent. */
  #sending = 0
  #host = ''
  #storageHost = ''

  private constructor(options: FaultRegistryOptions) {
    this.options = options
  }

  static async start(t: Teardown, options: FaultRegistryOptions = {}): Promise<FaultRegistry> {
    const registry = new FaultRegistry(options)
    registry.#host = await registry.#listen(options.tls, options.port)
    if (options.storageLifeMs !== undefined)
      registry.#storageHost = await registry.#listen(options.tls)
    t.teardown(() => registry.stop())
    return registry
  }

  /** `127.0.0.1:PORT`. */
  get host(): string {
    return this.#host
  }

  get storageHost(): string {
    return this.#storageHost
  }

  /** Puts an image or index, and everything below it, into a repository under its tags. */
  push(repository: string, item: BuiltImage | BuiltIndex, ...tags: string[]): void {
    const bytes = item.kind === 'image' ? item.manifest : item.document
    const type = String(item.descriptor['mediaType'])
    this.pushManifest(repository, bytes, type, ...tags)
    if (item.kind === 'index') {
      for (const child of item.children) this.push(repository, child)
      return
    }
    this.pushBlob(item.config)
    for (const layer of item.layers) this.pushBlob(layer.stored)
  }

  pushManifest(repository: string, bytes: Buffer, type = OCI.manifest, ...tags: string[]): void {
    for (const reference of [sha256(bytes), ...tags]) {
      this.#manifests.set(`${repository}/${reference}`, { bytes, type })
    }
  }

  pushBlob(bytes: Buffer, digest = sha256(bytes)): void {
    this.#blobs.set(digest, bytes)
  }

  /** Counts the requests of some kind. */
  count(kind: SeenRequest['kind'], part = ''): number {
    return this.requests.filter((request) => request.kind === kind && request.path.includes(part))
      .length
  }

  /** Closes every connection and listens no more. */
  async stop(): Promise<void> {
    await Promise.all(
      this.#servers.splice(0).map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => {
              resolve()
            })
            server.closeAllConnections()
          }),
      ),
    )
  }

  async #listen(tls: FaultRegistryOptions['tls'], port = 0): Promise<string> {
    const handle = (request: IncomingMessage, response: ServerResponse): void => {
      this.#answer(request, response).catch(() => response.destroy())
    }
    const server =
      tls === undefined
        ? createServer(handle)
        : createTlsServer({ key: tls.key, cert: tls.cert }, handle)
    this.#servers.push(server)
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    return `127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? ''
    const method = request.method ?? ''
    const kind = kindOf(path)
    const { range, authorization, accept } = request.headers
    const userAgent = request.headers['user-agent']
    const repeats = this.requests.filter(
      (seen) => seen.path === path && seen.method === method,
    ).length
    const seen = { method, path, kind, range, authorization, accept, userAgent, repeats }
    this.requests.push(seen)
    const fault = this.options.fault?.(seen) ?? {}
    const body = await readAll(request)
    // Nobody waits at the end for an answer that was never to come.
    const latencyMs = (this.options.latencyMs ?? 0) + (fault.latencyMs ?? 0)
    await sleep(latencyMs, undefined, { ref: false })
    if (fault.status !== undefined) {
      await this.#send(
        response,
        fault.status,
        fault.headers ?? {},
        Buffer.from(fault.body ?? ''),
        fault,
      )
      return
    }
    if (kind === 'token') await this.#giveToken(request, body, response, fault)
    else if (kind === 'storage') await this.#giveStored(seen, response, fault)
    else if (!this.#isAllowed(seen)) await this.#challenge(response)
    else if (kind === 'manifest') await this.#giveManifest(seen, response, fault)
    else if (kind === 'blob') await this.#giveBlob(seen, response, fault)
    else await this.#send(response, kind === 'ping' ? 200 : 404, {}, Buffer.from('{}'), fault)
  }

  #isAllowed({ authorization }: SeenRequest): boolean {
    const { auth } = this.options
    if (auth === undefined) return true
    if (auth.kind === 'basic') return isUser(authorization, auth.users)
    const token = /^Bearer (.+)$/.exec(authorization ?? '')?.[1] ?? ''
    return (this.#tokens.get(token) ?? 0) > Date.now()
  }

  async #challenge(response: ServerResponse): Promise<void> {
    const scheme = this.options.tls === undefined ? 'http' : 'https'
    const realm = this.options.auth?.realm ?? `${scheme}://${this.#host}/token`
    const header =
      this.options.auth?.kind === 'basic'
        ? 'Basic realm="here"'
        : `Bearer realm="${realm}",service="test, registry"`
    await this.#send(
      response,
      401,
      { 'www-authenticate': header, 'content-type': 'application/json' },
      Buffer.from('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'),
      {},
    )
  }

  async #giveToken(
    request: IncomingMessage,
    body: string,
    response: ServerResponse,
    fault: Fault,
  ): Promise<void> {
    const { users, identityToken, lifeMs = 60_000, expiresIn } = this.options.auth ?? {}
    const form = new URLSearchParams(body)
    const isKnown =
      request.method === 'POST'
        ? identityToken !== undefined && form.get('refresh_token') === identityToken
        : users === undefined || isUser(request.headers.authorization, users)
    if (!isKnown) {
      await this.#send(
        response,
        401,
        {},
        Buffer.from('{"details":"incorrect username or password"}'),
        {},
      )
      return
    }
    const token = randomBytes(12).toString('hex')
    this.#tokens.set(token, Date.now() + lifeMs)
    const answer = { token, ...(expiresIn === undefined ? {} : { expires_in: expiresIn }) }
    await this.#send(response, 200, {}, Buffer.from(JSON.stringify(answer)), fault)
  }

  async #giveManifest(seen: SeenRequest, response: ServerResponse, fault: Fault): Promise<void> {
    const [, repository = '', reference = ''] = MANIFEST.exec(seen.path) ?? []
    const found = this.#manifests.get(`${repository}/${decodeURIComponent(reference)}`)
    if (found === undefined) {
      const text = '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
      await this.#send(response, 404, JSON_TYPE, Buffer.from(text), fault)
      return
    }
    const headers = { 'content-type': found.type, 'docker-content-digest': sha256(found.bytes) }
    await this.#send(response, 200, { ...headers, ...fault.headers }, found.bytes, fault)
  }

  async #giveBlob(seen: SeenRequest, response: ServerResponse, fault: Fault): Promise<void> {
    const digest = BLOB.exec(seen.path)?.[1] ?? ''
    const blob = this.#blobs.get(digest)
    if (blob === undefined) {
      const text = '{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}'
      await this.#send(response, 404, JSON_TYPE, Buffer.from(text), fault)
      return
    }
    const lifeMs = this.options.storageLifeMs
    if (lifeMs === undefined) {
      await this.#giveBytes(seen, response, blob, fault)
      return
    }
    const signature = randomBytes(12).toString('hex')
    this.#signatures.set(signature, Date.now() + lifeMs)
    const scheme = this.options.tls === undefined ? 'http' : 'https'
    const location = `${scheme}://${this.#storageHost}/storage/${digest}?signature=${signature}`
    await this.#send(response, 307, { location }, Buffer.alloc(0), {})
  }

  /** As S3 has it: an address is for GET alone, and a second way of authorization is an error. */
  async #giveStored(seen: SeenRequest, response: ServerResponse, fault: Fault): Promise<void> {
    const [, digest = '', signature = ''] = STORAGE.exec(seen.path) ?? []
    const blob = this.#blobs.get(digest)
    const isFresh = (this.#signatures.get(signature) ?? 0) > Date.now()
    if (seen.authorization !== undefined) {
      const text = '<Error><Code>InvalidArgument</Code></Error>'
      await this.#send(response, 400, {}, Buffer.from(text), fault)
    } else if (!isFresh || seen.method !== 'GET') {
      await this.#send(response, 403, {}, Buffer.from('<Error>Request has expired</Error>'), fault)
    } else await this.#giveBytes(seen, response, blob ?? Buffer.alloc(0), fault)
  }

  async #giveBytes(
    { range }: SeenRequest,
    response: ServerResponse,
    blob: Buffer,
    fault: Fault,
  ): Promise<void> {
    const bytes = fault.flipAt === undefined ? blob : flipped(blob, fault.flipAt)
    const headers = { 'content-type': 'application/octet-stream', ...fault.headers }
    const [, first = '0', last = ''] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? []
    if (range === undefined || fault.ignoreRange === true) {
      await this.#send(response, 200, headers, bytes, fault)
      return
    }
    const end = last === '' ? bytes.length : Math.min(Number(last) + 1, bytes.length)
    if (Number(first) >= bytes.length) {
      await this.#send(
        response,
        416,
        { 'content-range': `bytes */${bytes.length}` },
        Buffer.alloc(0),
        fault,
      )
      return
    }
    const contentRange = fault.contentRange ?? `bytes ${first}-${end - 1}/${bytes.length}`
    const part = bytes.subarray(Number(first), end)
    if (fault.multipart === true) {
      const text = `--b\r\nContent-Range: ${contentRange}\r\n\r\n${part.toString('latin1')}\r\n--b--`
      const type = { 'content-type': 'multipart/byteranges; boundary=b' }
      await this.#send(response, 206, type, Buffer.from(text, 'latin1'), fault)
      return
    }
    await this.#send(response, 206, { ...headers, 'content-range': contentRange }, part, fault)
  }

  async #send(
    response: ServerResponse,
    status: number,
    headers: Fault['headers'],
    plain: Buffer,
    fault: Fault,
  ): Promise<void> {
    const body = fault.gzip === true ? gzipSync(plain) : plain
    response.on('error', () => undefined)
    response.writeHead(status, {
      ...(headers as Record<string, string>),
      ...(fault.gzip === true ? { 'content-encoding': 'gzip' } : {}),
      ...(fault.headers?.['content-length'] === undefined ? { 'content-length': body.length } : {}),
    })
    const stop = fault.cutAfter ?? fault.stallAfter ?? body.length
    // A line that nobody uses does not save time for later.
    if (this.#sending++ === 0) this.#freeAtMs = Math.max(this.#freeAtMs, performance.now())
    try {
      if (!(await this.#sendBody(response, body.subarray(0, stop), fault))) return
    } finally {
      this.#sending--
    }
    if (fault.cutAfter !== undefined) {
      // What was written should arrive before the end does.
      await sleep(5)
      response.destroy()
    } else if (fault.stallAfter === undefined) response.end()
    else response.flushHeaders()
  }

  /** Tells whether all of it went out: somebody may have closed the connection. */
  async #sendBody(
    response: ServerResponse,
    body: Buffer,
    { dripMs, bytesPerSecond }: Fault,
  ): Promise<boolean> {
    const step = dripMs === undefined ? CHUNK : 1
    for (let offset = 0; offset < body.length; offset += step) {
      const chunk = body.subarray(offset, offset + step)
      await this.#pace(chunk.length)
      if (dripMs !== undefined) await sleep(dripMs)
      if (bytesPerSecond !== undefined) await sleep((chunk.length / bytesPerSecond) * 1000)
      if (response.destroyed) return false
      this.bytesSent += chunk.length
      if (!response.write(chunk)) await drained(response)
    }
    return true
  }

  /** Lets all answers together have the bandwidth; what a busy machine has held up is made good, as a queue in a router does. */
  async #pace(bytes: number): Promise<void> {
    const { bytesPerSecond } = this.options
    if (bytesPerSecond === undefined) return
    this.#freeAtMs =
      Math.max(this.#freeAtMs, performance.now() - QUEUE_MS) + (bytes / bytesPerSecond) * 1000
    const waitMs = this.#freeAtMs - performance.now()
    if (waitMs > 1) await sleep(waitMs)
  }
}

/** A copy, which for a part of a large blob would take longer than to send it. */
function flipped(blob: Buffer, at: number): Buffer {
  const bytes = Buffer.from(blob)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
}

function kindOf(path: string): SeenRequest['kind'] {
  if (/^\/v2\/$/.test(path)) return 'ping'
  if (MANIFEST.test(path)) return 'manifest'
  if (BLOB.test(path)) return 'blob'
  if (STORAGE.test(path)) return 'storage'
  return path.startsWith('/token') ? 'token' : 'other'
}

function isUser(header: string | undefined, users: Readonly<Record<string, string>> = {}): boolean {
  const [, encoded = ''] = /^Basic (.+)$/.exec(header ?? '') ?? []
  const pair = Buffer.from(encoded, 'base64').toString()
  const colon = pair.indexOf(':')
  return colon > 0 && users[pair.slice(0, colon)] === pair.slice(colon + 1)
}

async function readAll(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request as AsyncIterable<Buffer>) text += chunk.toString()
  return text
}

const CHUNK = 16 * 1024
const QUEUE_MS = 100
const JSON_TYPE = { 'content-type': 'application/json' }
const MANIFEST = /^\/v2\/(.+)\/manifests\/([^/?]+)(?:\?.*)?$/
const BLOB = /^\/v2\/.+\/blobs\/([^/?]+)(?:\?.*)?$/
const STORAGE = /^\/storage\/([^/?]+)\?signature=(.+)$/
