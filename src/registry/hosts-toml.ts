// hosts.toml of containerd (checklist E-097): the mirrors of a registry, and how each is talked to.

import { dirname, isAbsolute, join } from 'node:path'
import { apiHost, type Endpoint } from './endpoint.js'
import { readToml, type ConfigTable } from './config-file.js'
import type { TlsFiles } from './tls.js'

export interface HostsToml {
  readonly mirrors: readonly Endpoint[]
  /** Stands in for the registry itself. */
  readonly server: Endpoint | undefined
}

/**
 * Reads what there is about a registry, or about all of them; undefined when there is nothing.
 *
 * @throws RegistryError `REGISTRY_DENIED` for a file that makes no sense
 */
export async function loadHostsToml(
  name: { readonly domain: string; readonly repository: string },
  directories: readonly string[],
): Promise<HostsToml | undefined> {
  const { domain } = name
  for (const directory of directories) {
    for (const place of [domain.replace(/:(\d+)$/, '_$1_'), domain, '_default']) {
      const table = await readToml(join(directory, place, 'hosts.toml'))
      if (table !== undefined) return readHosts(table, name)
    }
  }
  return undefined
}

function readHosts(table: ConfigTable, name: { domain: string; repository: string }): HostsToml {
  const mirrors = table.named('host').map(([url, host]) => endpointOf(url, host, name))
  const server = table.string('server')
  return {
    mirrors: mirrors.filter(
      ({ canPullDigests, canResolveTags }) => canPullDigests || canResolveTags,
    ),
    server: server === undefined ? undefined : endpointOf(server, table, name),
  }
}

function endpointOf(
  text: string,
  table: ConfigTable,
  { domain, repository }: { domain: string; repository: string },
): Endpoint {
  const full = /^https?:\/\//i.test(text) ? text : `https://${text}`
  if (!URL.canParse(full)) throw table.wrong(text, 'it is not a URL')
  const url = new URL(full)
  const path = url.pathname.replace(/\/+$/, '')
  const isWhole = table.boolean('override_path') || path.endsWith('/v2')
  const capabilities = table.strings('capabilities') ?? ['pull', 'resolve']
  // The server of a registry is the registry; any other host is a mirror, and is told whose.
  const isOrigin = url.host === apiHost(domain) || url.host === domain
  return {
    host: url.host,
    credentialHost: isOrigin ? domain : url.host,
    prefix: isWhole ? path : `${path}/v2`,
    repository,
    scheme: url.protocol === 'http:' ? 'http' : 'https',
    skipVerify: table.boolean('skip_verify'),
    tls: tlsFiles(table),
    headers: table.map('header'),
    ...(isOrigin ? {} : { namespace: domain }),
    canResolveTags: capabilities.includes('resolve'),
    canPullDigests: capabilities.includes('pull'),
  }
}

function tlsFiles(table: ConfigTable): TlsFiles | undefined {
  const base = dirname(table.path)
  const absolute = (path: string): string => (isAbsolute(path) ? path : join(base, path))
  const authorities = (table.strings('ca') ?? []).map(absolute)
  const [certificate, key = certificate] = (table.strings('client') ?? []).map(absolute)
  if (authorities.length === 0 && certificate === undefined) return undefined
  return {
    authorities,
    ...(certificate === undefined || key === undefined ? {} : { client: { certificate, key } }),
  }
}
