// Requests to one endpoint: shows credentials when it asks, follows redirects without them, finds out whether it speaks TLS.

import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { log } from '../logger.js'
import { Authorizer } from './authorizer.js'
import { findCredentials } from './credentials.js'
import type { Endpoint } from './endpoint.js'
import { isLoopbackHost } from './hosts.js'
import { followRedirects } from './redirects.js'
import { innermostCode, RegistryError } from './registry-error.js'
import type { RetryPolicy } from './retry.js'
import { responseError } from './response-error.js'
import { discard, type HttpResponse, type Transport } from './transport.js'

export interface SiteOptions {
  readonly transport: Transport
  readonly retries: RetryPolicy
  readonly env: NodeJS.ProcessEnv
  readonly authFile?: string | undefined
  readonly onWarning: (text: string) => void
}

export interface SiteRequest {
  /** Behind the name of the repository: `manifests/v1`, `blobs/sha256:…`. */
  readonly path: string
  /** What this is for, in words that follow "Cannot ". */
  readonly what: string
  readonly method?: 'GET' | 'HEAD'
  readonly headers: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

/** Whoever can be asked for a blob. */
export interface BlobServer {
  readonly host: string
  get(request: SiteRequest): Promise<HttpResponse>
}

/** One endpoint and what is known of it so far. */
export class Site implements BlobServer {
  readonly endpoint: Endpoint
  readonly #options: SiteOptions
  readonly #authorizer: Authorizer
  #protocol: 'https:' | 'http:'
  #isProtocolKnown: boolean

  constructor(endpoint: Endpoint, options: SiteOptions) {
    this.endpoint = endpoint
    this.#options = options
    this.#protocol = endpoint.scheme === 'http' ? 'http:' : 'https:'
    this.#isProtocolKnown = endpoint.scheme !== 'either'
    this.#authorizer = new Authorizer({
      ...{ transport: options.transport, retries: options.retries },
      ...{ host: endpoint.host, skipVerify: endpoint.skipVerify },
      credentials: () => {
        const { env, authFile } = options
        return findCredentials(endpoint.credentialHost, endpoint.repository, { env, authFile })
      },
    })
  }

  get host(): string {
    return this.endpoint.host
  }

  /**
   * Gets an answer of status 200 or 206, wherever it comes from.
   *
   * @throws RegistryError with the registry's own words; OcimountError `INTERRUPTED`
   */
  async get(request: SiteRequest): Promise<HttpResponse> {
    for (let round = 0; ; round++) {
      const shown = await this.#authorizer.header(this.#scope, request.signal)
      const response = await this.#follow(request, shown)
      if (response.status === 200 || response.status === 206) return response
      const isOwn = this.#isOwn(response.url)
      if (response.status === 401 && isOwn && round < MAX_ROUNDS) {
        if (await this.#authorizer.learn(response, shown)) {
          discard(response)
          continue
        }
      }
      throw await this.#refusal(request, response, isOwn)
    }
  }

  /** Gives what {@link get} takes for an address in this repository; undefined for any other address. */
  pathOf(url: URL): string | undefined {
    const base = this.#url('')
    if (url.origin !== base.origin || !url.pathname.startsWith(base.pathname)) return undefined
    return url.pathname.slice(base.pathname.length) + url.search
  }

  get #scope(): string {
    return `repository:${this.endpoint.repository}:pull`
  }

  async #follow(request: SiteRequest, shown: string | undefined): Promise<HttpResponse> {
    const { what, method = 'GET', headers, signal } = request
    const { host, headers: ownHeaders, skipVerify, tls } = this.endpoint
    const first = await this.#first(request, shown)
    return followRedirects(this.#options.transport, first, (url) =>
      this.#isOwn(url)
        ? {
            ...{ what, method, signal, skipVerify, tls },
            headers: { ...headers, ...ownHeaders, ...authorization(shown) },
          }
        : {
            ...{ what, method, signal, headers, skipVerify },
            chosenBy: { isLoopback: isLoopbackHost(host) },
          },
    )
  }

  /** Asks the endpoint itself. */
  async #first(request: SiteRequest, shown: string | undefined): Promise<HttpResponse> {
    const { what, path, method = 'GET', signal } = request
    const { skipVerify, tls, headers: ownHeaders } = this.endpoint
    const headers = { ...request.headers, ...ownHeaders, ...authorization(shown) }
    for (;;) {
      const url = this.#url(path)
      try {
        if (url.protocol === 'https:' && !this.#isProtocolKnown) {
          await this.#options.transport.greet({ url, what, signal })
        }
        const response = await this.#options.transport.send({
          ...{ url, what, method, headers, signal, skipVerify, tls },
        })
        this.#isProtocolKnown = true
        this.#noteWarnings(response)
        return response
      } catch (error) {
        // Where nobody insists on TLS a server may well not have it. A certificate that is wrong is another matter.
        if (!isNoTls(error)) throw error
        // Another request may have found out at the same time.
        if (url.protocol !== this.#protocol) continue
        if (this.#isProtocolKnown) throw error
        log.debug({ host: this.endpoint.host }, 'the registry does not speak TLS')
        this.#protocol = 'http:'
        this.#isProtocolKnown = true
      }
    }
  }

  /** By what a URL makes of the host's name: lower case, and no port where it is the usual one. */
  #isOwn(url: URL): boolean {
    return url.origin === this.#url('').origin
  }

  #url(path: string): URL {
    const { host, prefix, repository, namespace } = this.endpoint
    const url = new URL(`${this.#protocol}//${host}${prefix}/${repository}/${path}`)
    if (namespace !== undefined) url.searchParams.set('ns', namespace)
    return url
  }

  async #refusal(
    request: SiteRequest,
    response: HttpResponse,
    isOwn: boolean,
  ): Promise<RegistryError> {
    const { status } = response
    const error = await responseError(response, request.what)
    if (!isOwn && EXPIRED.has(status)) {
      // The address that the registry gave has run out (checklist E-056); asked again, it gives a new one.
      return new RegistryError('REGISTRY_UNAVAILABLE', error.message, { status, isTransient: true })
    }
    if (status !== 401 || (await this.#authorizer.hasCredentials())) return error
    const remedy = `log in first: podman login ${escapeText(this.endpoint.credentialHost)}`
    return new RegistryError(error.code, `${error.message}; ${remedy}`, { status })
  }

  /** Registries have something to say that is no failure (checklist E-036). */
  #noteWarnings(response: HttpResponse): void {
    for (const header of response.headers('warning')) {
      const text = /^299 \S+ "((?:[^"\\]|\\.)*)"/.exec(header)?.[1]?.replace(/\\(.)/g, '$1')
      if (text !== undefined && text !== '') {
        this.#options.onWarning(escapeText(text.slice(0, MAX_WARNING)))
      }
    }
  }
}

function authorization(value: string | undefined): Record<string, string> {
  return value === undefined ? {} : { authorization: value }
}

function isNoTls(error: unknown): boolean {
  if (!(error instanceof OcimountError)) return false
  return NO_TLS.has(innermostCode(error.cause))
}

const MAX_ROUNDS = 2
const MAX_WARNING = 512
const EXPIRED: ReadonlySet<number> = new Set([400, 401, 403, 410])
const NO_TLS: ReadonlySet<string> = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_HTTP_REQUEST',
  // A server that closes what it does not understand.
  'ECONNRESET',
  'EPROTO',
])
