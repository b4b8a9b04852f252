// Single HTTP requests, nothing followed, nothing decoded, nothing tried again. The only importer of undici.

import type { Readable } from 'node:stream'
import { Agent, ProxyAgent, type Dispatcher } from 'undici'
import { OcimountError } from '../errors.js'
import { guardedLookup, refusedHost } from './hosts.js'
import { proxyFor } from './proxy.js'
import { connectionError, innermostCode, RegistryError } from './registry-error.js'
import { certsDirectories, greet, secureContextFor, type TlsFiles } from './tls.js'

export interface Timeouts {
  /** Until there is a connection. */
  readonly connectMs: number
  /** From the request to the first byte of the answer. */
  readonly headersMs: number
  /** Between two pieces of a body. */
  readonly idleMs: number
  /** How long a blob may starve before a second connection is tried. */
  readonly starvedMs: number
  /** For all of a document, however it comes. */
  readonly documentMs: number
}

export const DEFAULT_TIMEOUTS: Timeouts = {
  connectMs: 10_000,
  headersMs: 30_000,
  idleMs: 30_000,
  starvedMs: 3000,
  documentMs: 60_000,
}

/** How one host is talked to. */
export interface PeerOptions {
  /** Its certificate is not looked at. */
  readonly skipVerify?: boolean | undefined
  readonly tls?: TlsFiles | undefined
  /** Set where a server chose the host: it must not lead to this machine (unless from there) nor to link-local addresses. */
  readonly chosenBy?: { readonly isLoopback: boolean } | undefined
}

export interface HttpRequest extends PeerOptions {
  /** What this is for, in words that follow "Cannot ". */
  readonly what: string
  readonly url: URL
  readonly method?: 'GET' | 'HEAD' | 'POST'
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export interface HttpResponse {
  readonly url: URL
  readonly status: number
  /** The value of a header; several are joined by commas. */
  header(name: string): string | undefined
  /** All values of a header. */
  headers(name: string): readonly string[]
  /** To be read to its end, or given to {@link discard}. */
  readonly body: Readable
  /** How long {@link readBody} may take. */
  readonly documentMs: number
  /** Gives the error for a body that broke off, in words of the request. */
  failure(error: unknown): OcimountError
}

export interface TransportOptions {
  readonly env: NodeJS.ProcessEnv
  readonly timeouts?: Partial<Timeouts> | undefined
  readonly userAgent: string
}

/** Connections to any number of hosts, kept open until {@link Transport.close}. */
export class Transport {
  readonly #options: TransportOptions
  readonly timeouts: Timeouts
  readonly #dispatchers = new Map<string, Dispatcher>()

  constructor(options: TransportOptions) {
    this.#options = options
    this.timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts }
  }

  /**
   * Sends one request.
   *
   * @throws RegistryError `REGISTRY_UNAVAILABLE` without an answer, `REGISTRY_DENIED` for a target that is refused;
   *   OcimountError `INTERRUPTED`
   */
  async send(options: HttpRequest): Promise<HttpResponse> {
    const { url, what, method = 'GET', signal, chosenBy } = options
    if (chosenBy !== undefined) {
      const why = refusedHost(url.host, chosenBy.isLoopback)
      if (why !== undefined) throw refusedTarget(what, why)
    }
    try {
      const { statusCode, headers, body } = await this.#dispatcherFor(url, options).request({
        ...{ origin: url.origin, path: url.pathname + url.search, method },
        headers: { 'user-agent': this.#options.userAgent, ...options.headers },
        ...(options.body === undefined ? {} : { body: options.body }),
        ...(signal === undefined ? {} : { signal }),
      })
      const all = (name: string): readonly string[] => {
        const value = headers[name]
        return value === undefined ? [] : typeof value === 'string' ? [value] : value
      }
      return {
        url,
        status: statusCode,
        headers: all,
        header: (name) => (headers[name] === undefined ? undefined : all(name).join(', ')),
        body,
        documentMs: this.timeouts.documentMs,
        failure: (error) => this.#failure(what, url, error, signal),
      }
    } catch (error) {
      throw this.#failure(what, url, error, signal)
    }
  }

  /**
   * Finds out whether a server speaks TLS, for who may do without. No request is sent, so nobody need be believed: to read all
   * authorities of a system takes 45 ms.
   *
   * @throws as {@link Transport.send}
   */
  async greet({ url, what, signal }: Pick<HttpRequest, 'url' | 'what' | 'signal'>): Promise<void> {
    // The proxy is who is connected to.
    if (proxyFor(url, this.#options.env) !== undefined) return
    try {
      await greet(url, this.timeouts.connectMs, signal)
    } catch (error) {
      throw this.#failure(what, url, error, signal)
    }
  }

  /** Gives the error for a connection that failed, at its start or while a body came. */
  #failure(what: string, url: URL, error: unknown, signal: AbortSignal | undefined): OcimountError {
    if (error instanceof OcimountError) return error
    if (signal?.aborted === true) {
      return new OcimountError('INTERRUPTED', `Cannot ${what}: it was interrupted`, {
        cause: error,
      })
    }
    if (innermostCode(error) === 'EREFUSED_ADDRESS' && error instanceof Error) {
      return refusedTarget(what, error.message)
    }
    return connectionError(what, url.host, error)
  }

  /** Closes all connections; what is under way fails. */
  async close(): Promise<void> {
    const dispatchers = [...this.#dispatchers.values()]
    this.#dispatchers.clear()
    await Promise.allSettled(dispatchers.map((dispatcher) => dispatcher.destroy()))
  }

  #dispatcherFor(url: URL, { skipVerify = false, tls, chosenBy }: PeerOptions): Dispatcher {
    const proxy = proxyFor(url, this.#options.env)
    const guard = chosenBy === undefined ? '' : String(chosenBy.isLoopback)
    const key = JSON.stringify([url.origin, skipVerify, guard, proxy?.href, tls])
    const known = this.#dispatchers.get(key)
    if (known !== undefined) return known
    const secure =
      url.protocol === 'https:'
        ? {
            secureContext: secureContextFor(
              url.host,
              certsDirectories(this.#options.env),
              this.#options.env,
              tls,
            ),
            rejectUnauthorized: !skipVerify,
          }
        : {}
    const { connectMs, headersMs, idleMs } = this.timeouts
    const common = {
      ...{ headersTimeout: headersMs, bodyTimeout: idleMs },
      ...{ pipelining: 1, connections: MAX_CONNECTIONS },
    }
    const lookup = chosenBy === undefined ? {} : { lookup: guardedLookup(chosenBy.isLoopback) }
    const dispatcher =
      proxy === undefined
        ? new Agent({ ...common, connect: { ...secure, ...lookup, timeout: connectMs } })
        : new ProxyAgent({ ...common, ...proxyOptions(proxy), requestTls: secure })
    this.#dispatchers.set(key, dispatcher)
    return dispatcher
  }
}

/** To one host. Layers are pulled all at once, but a registry serves others too. */
const MAX_CONNECTIONS = 8

/**
 * Reads a document up to a limit; undefined when it is longer.
 *
 * @throws RegistryError `REGISTRY_UNAVAILABLE` for a connection that fails, and for a server that takes its time with what fits in a
 *   few packets; OcimountError `INTERRUPTED`
 */
export async function readBody(response: HttpResponse, limit: number): Promise<Buffer | undefined> {
  const { body, documentMs } = response
  const chunks: Buffer[] = []
  let size = 0
  const timer = setTimeout(() => {
    body.destroy(new Error(`it hardly sends anything, ${size} bytes in ${documentMs / 1000} s`))
  }, documentMs)
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > limit) {
        discard(response)
        return undefined
      }
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  } catch (error) {
    throw response.failure(error)
  } finally {
    clearTimeout(timer)
  }
}

/** Lets go of a body that nobody wants. */
export function discard({ body }: HttpResponse): void {
  body.on('error', ignore)
  body.destroy()
}

function proxyOptions(proxy: URL): { uri: string; token?: string } {
  const { username, password } = proxy
  if (username === '') return { uri: proxy.origin }
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { uri: proxy.origin, token: `Basic ${Buffer.from(pair).toString('base64')}` }
}

function refusedTarget(what: string, why: string): RegistryError {
  return new RegistryError(
    'REGISTRY_DENIED',
    `Cannot ${what}: the registry leads to an address that is never followed: ${why}`,
  )
}

function ignore(): void {
  // Destroyed on purpose.
}
