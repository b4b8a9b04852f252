// The pull side of the distribution specification for one repository: manifests by tag and digest, blobs whole and in part,
// from the registry or from whatever stands in for it.

import { escapeText } from '../byte-string.js'
import { isOcimountError, type OcimountError } from '../errors.js'
import type { Descriptor } from '../image/descriptor.js'
import { parseDigest, type Digest } from '../image/digest.js'
import { log } from '../logger.js'
import { readBlob, type BlobRequest } from './blob-stream.js'
import { ForeignServer } from './foreign-server.js'
import { MANIFEST_TYPES, readManifest, type FetchedManifest } from './manifest-response.js'
import { findEndpoints, type MirrorFiles } from './mirrors.js'
import { listReferrers, type ReferrerList, type ReferrerOptions } from './referrers.js'
import { protocolError, type RegistryError } from './registry-error.js'
import { DEFAULT_RETRIES, withRetries, type RetryPolicy } from './retry.js'
import { Site, type BlobServer } from './site.js'
import { StreamRates } from './stream-rates.js'
import { Transport, type Timeouts } from './transport.js'

/** Which bytes of a blob: all of them by default. */
export interface BlobPart {
  readonly offset?: number
  readonly end?: number
  /** How many of the servers that could be asked are passed over at first, for one that has failed before. */
  readonly startAt?: number
  readonly signal?: AbortSignal | undefined
}

export interface RegistryOptions {
  /** The one file to look for credentials in. */
  readonly authFile?: string | undefined
  /** Takes any certificate, and plain http from hosts that are not this machine. */
  readonly isInsecure?: boolean | undefined
  /** For proxies, and for where configuration and credentials lie; default: that of the process. */
  readonly env?: NodeJS.ProcessEnv | undefined
  readonly timeouts?: Partial<Timeouts> | undefined
  readonly retries?: Partial<RetryPolicy> | undefined
  readonly mirrorFiles?: MirrorFiles | undefined
  /** Called with what a registry wants its users to know, each text once. */
  readonly onWarning?: ((text: string) => void) | undefined
}

export interface RegistryFailure {
  readonly message: string
  /** When, as ISO 8601 has it. */
  readonly time: string
}

/** One repository. To be closed. */
export class RegistryClient {
  readonly #name: string
  readonly #transport: Transport
  readonly #sites: Promise<readonly Site[]>
  readonly #retries: RetryPolicy
  readonly #rates: StreamRates
  readonly #warnings = new Set<string>()
  /** Where the bytes of a blob came from that turned out to be wrong. */
  readonly #distrusted = new Map<Digest, Set<BlobServer>>()
  readonly #lastUsed = new Map<Digest, BlobServer>()
  #lastFailure: RegistryFailure | undefined

  constructor(
    name: { readonly domain: string; readonly repository: string },
    options: RegistryOptions = {},
  ) {
    const { isInsecure = false, env = process.env, timeouts, authFile, mirrorFiles } = options
    this.#name = escapeText(`${name.domain}/${name.repository}`)
    this.#retries = {
      ...{ ...DEFAULT_RETRIES, ...options.retries },
      onFailure: ({ message }) => {
        this.#lastFailure = { message, time: new Date().toISOString() }
      },
    }
    this.#transport = new Transport({ env, timeouts, userAgent: USER_AGENT })
    this.#rates = new StreamRates(this.#transport.timeouts.starvedMs)
    const siteOptions = {
      ...{ transport: this.#transport, retries: this.#retries, env, authFile },
      onWarning: (text: string): void => {
        if (this.#warnings.has(text) || this.#warnings.size >= MAX_WARNINGS) return
        this.#warnings.add(text)
        options.onWarning?.(`${this.#name}: ${text}`)
      },
    }
    this.#sites = findEndpoints(name, { isInsecure, env, files: mirrorFiles }).then((endpoints) =>
      endpoints.map((endpoint) => new Site(endpoint, siteOptions)),
    )
    // Whoever asks first is told.
    this.#sites.catch(ignore)
  }

  /**
   * Gets a manifest or an index, whose bytes are right where it was asked for by digest.
   *
   * @throws OcimountError `REFERENCE_NOT_FOUND`, `REGISTRY_DENIED`, `REGISTRY_UNAVAILABLE` with the registry's words,
   *   `DIGEST_MISMATCH`, `LIMIT_EXCEEDED`, `IMAGE_UNSUPPORTED` for a digest that cannot be computed, `INTERRUPTED`
   */
  async fetchManifest(
    reference: string,
    options: {
      readonly signal?: AbortSignal | undefined
      readonly attempts?: number | undefined
    } = {},
  ): Promise<FetchedManifest> {
    const { signal, attempts = this.#retries.attempts } = options
    const digest = reference.includes(':') ? parseDigest(reference) : undefined
    const what = `pull ${this.#name}${digest === undefined ? ':' : '@'}${escapeText(reference)}`
    const policy = { ...this.#retries, attempts }
    return this.#anywhere(digest, { policy, signal }, async (site) => {
      const response = await site.get({
        path: `manifests/${reference}`,
        what,
        headers: { accept: MANIFEST_TYPES, 'accept-encoding': 'identity' },
        signal,
      })
      return readManifest(response, digest, what)
    })
  }

  /**
   * Reads a blob from `offset` to its end, or up to `end`: exactly as many bytes as its descriptor says, whatever happens to
   * connections. They are not verified; when they turn out wrong, {@link distrust} says whether somebody else may have it right,
   * and another number `startAt` has others asked first.
   *
   * @throws OcimountError as {@link fetchManifest}; `SIZE_MISMATCH`; for a part, the detail `ranges: 'ignored'` where a server
   *   gives whole blobs only
   */
  async *readBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size' | 'urls'>,
    { offset = 0, end, startAt = 0, signal }: BlobPart = {},
  ): AsyncGenerator<Buffer, void, undefined> {
    const { digest, size, urls } = descriptor
    if (size === 0 || offset === (end ?? size)) return
    const what = `pull blob ${digest} of ${this.#name}`
    const request: BlobRequest = {
      ...{ digest, size, end, what, signal },
      ...{ transport: this.#transport, rates: this.#rates },
    }
    let done = offset
    let failure: OcimountError | undefined
    for (const server of rotated(await this.#serversFor(digest, urls ?? []), startAt)) {
      this.#lastUsed.set(digest, server)
      try {
        for await (const chunk of readBlob(server, request, done, this.#retries)) {
          done += chunk.length
          yield chunk
        }
        return
      } catch (error) {
        const isWorse = server instanceof ForeignServer && failure !== undefined
        const next = this.#next(error, server)
        // What the registry said is what matters; that a last resort failed as well is not.
        failure = isWorse ? failure : next
      }
    }
    throw failure ?? this.#nobody()
  }

  /**
   * Lists what refers to a manifest, by the registry itself: a mirror need not know.
   *
   * @throws OcimountError as {@link fetchManifest}; `IMAGE_INVALID` for a list that is none
   */
  async listReferrers(subject: Digest, options: ReferrerOptions = {}): Promise<ReferrerList> {
    const { signal } = options
    const site = (await this.#sites).at(-1)
    if (site === undefined) throw this.#nobody()
    return listReferrers(
      {
        site,
        what: `list what refers to ${subject} in ${this.#name}`,
        retry: (work) => withRetries(this.#retries, signal, work),
        fetchManifest: (digest) => this.fetchManifest(digest, { signal }),
      },
      subject,
      options,
    )
  }

  /** Notes that the bytes of a blob were wrong; tells whether another server is left to ask. */
  async distrust(digest: Digest): Promise<boolean> {
    const server = this.#lastUsed.get(digest)
    if (server === undefined || server instanceof ForeignServer) return false
    const known = this.#distrusted.get(digest) ?? new Set()
    known.add(server)
    this.#distrusted.set(digest, known)
    return (await this.#serversFor(digest, [])).length > 0
  }

  /** The last thing that went wrong with any server, also where another attempt or another server did better. */
  get lastFailure(): RegistryFailure | undefined {
    return this.#lastFailure
  }

  /** Closes all connections. */
  close(): Promise<void> {
    return this.#transport.close()
  }

  /** Tries one server after the other (checklist E-099); what the last one says is thrown. */
  async #anywhere<T>(
    digest: Digest | undefined,
    { policy, signal }: { policy: RetryPolicy; signal: AbortSignal | undefined },
    work: (site: Site) => Promise<T>,
  ): Promise<T> {
    let failure: OcimountError | undefined
    for (const site of await this.#sitesFor(digest)) {
      try {
        return await withRetries(policy, signal, () => work(site))
      } catch (error) {
        failure = this.#next(error, site)
      }
    }
    throw failure ?? this.#nobody()
  }

  #nobody(): RegistryError {
    return protocolError(`pull from ${this.#name}`, 'no server that is configured may be asked')
  }

  /** Gives the error back when another server may do better, and throws it when none can. */
  #next(error: unknown, server: BlobServer): OcimountError {
    if (!isOcimountError(error) || error.code === 'INTERRUPTED') throw error
    log.info({ host: server.host, why: error.message }, 'a registry cannot be used')
    return error
  }

  async #sitesFor(digest: Digest | undefined): Promise<readonly Site[]> {
    return (await this.#sites).filter(({ endpoint }) =>
      digest === undefined ? endpoint.canResolveTags : endpoint.canPullDigests,
    )
  }

  async #serversFor(digest: Digest, urls: readonly string[]): Promise<readonly BlobServer[]> {
    const sites = await this.#sitesFor(digest)
    const origin = sites.at(-1)?.host ?? ''
    const foreign = urls
      .slice(0, MAX_URLS)
      .map((url) => new ForeignServer(url, origin, this.#transport))
    const distrusted = this.#distrusted.get(digest)
    return [...sites, ...foreign].filter((server) => distrusted?.has(server) !== true)
  }
}

/** Gives the servers with another one in front. */
function rotated<T>(servers: readonly T[], by: number): readonly T[] {
  const first = servers.length === 0 ? 0 : by % servers.length
  return [...servers.slice(first), ...servers.slice(0, first)]
}

const USER_AGENT = 'ocimount'
const MAX_WARNINGS = 8
/** Addresses of one layer that are tried. */
const MAX_URLS = 4

function ignore(): void {
  // Thrown again to whoever awaits it.
}
