// Where a repository can be had: the registry itself or a mirror of it.

import { isLoopbackHost } from './hosts.js'
import type { TlsFiles } from './tls.js'

/** One server and the name that the repository has there. */
export interface Endpoint {
  /** Host with its port. */
  readonly host: string
  /** What credentials are looked up by; Docker Hub has another name there than its server has. */
  readonly credentialHost: string
  /** Path in front of `/<repository>/manifests/…`, such as `/v2`. */
  readonly prefix: string
  readonly repository: string
  /** `either`: https, and http when the server turns out not to speak TLS. */
  readonly scheme: 'https' | 'http' | 'either'
  readonly skipVerify: boolean
  readonly tls?: TlsFiles | undefined
  /** Sent to this host alone. */
  readonly headers: Readonly<Record<string, string>>
  /** The registry that a pull-through mirror is asked for, by its custom `ns` parameter. */
  readonly namespace?: string | undefined
  readonly canResolveTags: boolean
  readonly canPullDigests: boolean
}

/** Gives the server that a registry is by itself. Plain http is for this machine, or for who asks for it (checklist E-038). */
export function originEndpoint(
  { domain, repository }: { readonly domain: string; readonly repository: string },
  { isInsecure }: { readonly isInsecure: boolean },
): Endpoint {
  return {
    host: apiHost(domain),
    credentialHost: domain,
    prefix: '/v2',
    repository,
    scheme: isInsecure || isLoopbackHost(domain) ? 'either' : 'https',
    skipVerify: isInsecure,
    headers: {},
    canResolveTags: true,
    canPullDigests: true,
  }
}

/** Gives the host that answers for a registry; it differs for Docker Hub alone (checklist E-009). */
export function apiHost(domain: string): string {
  return domain === 'docker.io' ? 'registry-1.docker.io' : domain
}
