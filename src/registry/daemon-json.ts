// Docker's daemon.json (checklist E-098): mirrors of Docker Hub, and registries that are talked to in the clear or with any certificate.

import { originEndpoint, type Endpoint } from './endpoint.js'
import { readJson, type ConfigTable } from './config-file.js'
import { hostName, isInNetwork } from './hosts.js'

/**
 * Gives the servers for a name as the first of some files that exists says; undefined when none of them does.
 *
 * @throws RegistryError `REGISTRY_DENIED` for a file that makes no sense
 */
export async function loadDaemonJson(
  name: { readonly domain: string; readonly repository: string },
  paths: readonly string[],
  { isInsecure }: { readonly isInsecure: boolean },
): Promise<readonly Endpoint[] | undefined> {
  for (const path of paths) {
    const table = await readJson(path)
    if (table === undefined) continue
    const insecure = table.strings('insecure-registries') ?? []
    const isListed = (host: string): boolean => insecure.some((entry) => isMeant(entry, host))
    const mirrors = name.domain === 'docker.io' ? (table.strings('registry-mirrors') ?? []) : []
    return [
      ...mirrors.map((url) => mirrorAt(url, name.repository, { table, isListed })),
      originEndpoint(name, { isInsecure: isInsecure || isListed(name.domain) }),
    ]
  }
  return undefined
}

/** An entry is a host, with or without the scheme that some write in front, or a network. */
function isMeant(entry: string, host: string): boolean {
  const text = entry.replace(/^https?:\/\//i, '').replace(/\/+$/, '')
  return text.includes('/') ? isInNetwork(hostName(host), text) : text.toLowerCase() === host
}

function mirrorAt(
  text: string,
  repository: string,
  {
    table,
    isListed,
  }: { readonly table: ConfigTable; readonly isListed: (host: string) => boolean },
): Endpoint {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:'
  if (url === undefined || !isHttp || url.search !== '' || url.hash !== '' || url.username !== '') {
    throw table.wrong('registry-mirrors', 'a mirror is not the URL of a server')
  }
  return {
    ...originEndpoint({ domain: url.host, repository }, { isInsecure: isListed(url.host) }),
    scheme: url.protocol === 'http:' ? 'http' : 'https',
    prefix: `${url.pathname.replace(/\/+$/, '')}/v2`,
  }
}
