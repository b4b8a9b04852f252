// HTTPS_PROXY, HTTP_PROXY and NO_PROXY as curl, Go and Python read them (checklist E-039).

import { isIP, isIPv6 } from 'node:net'
import { isLoopbackHost, isInNetwork } from './hosts.js'
import { RegistryError } from './registry-error.js'

/**
 * Gives the proxy for a request, or undefined for none. This machine is never reached through one. The URL may hold a
 * name and a password: it is never to be shown.
 *
 * @throws RegistryError `REGISTRY_UNAVAILABLE` for a value that is no URL of a proxy
 */
export function proxyFor(url: URL, env: NodeJS.ProcessEnv): URL | undefined {
  if (isLoopbackHost(url.host)) return undefined
  const names =
    url.protocol === 'https:' ? ['https_proxy', 'HTTPS_PROXY'] : ['http_proxy', 'HTTP_PROXY']
  const name = [...names, 'all_proxy', 'ALL_PROXY'].find((variable) => env[variable])
  const value = name === undefined ? undefined : env[name]
  if (name === undefined || value === undefined) return undefined
  const exceptions = env['no_proxy'] ?? env['NO_PROXY'] ?? ''
  if (exceptions.split(/[\s,]+/).some((entry) => matches(entry, url))) return undefined
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`
  const proxy = URL.canParse(text) ? new URL(text) : undefined
  if (proxy?.protocol === 'http:' || proxy?.protocol === 'https:') return proxy
  // Its value may hold a password.
  throw new RegistryError(
    'REGISTRY_UNAVAILABLE',
    `Cannot use the proxy in ${name}: it is no http URL`,
  )
}

function matches(entry: string, url: URL): boolean {
  if (entry === '') return false
  if (entry === '*') return true
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  if (entry.includes('/')) return isInNetwork(host, entry)
  const [, name = '', port] = /^(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? []
  if (port !== undefined && !isIPv6(entry) && port !== portOf(url)) return false
  const bare = (isIPv6(entry) ? entry.toLowerCase() : name).replace(/^\*?\./, '')
  return host === bare || (isIP(host) === 0 && host.endsWith(`.${bare}`))
}

function portOf(url: URL): string {
  return url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
}
