// Goes where redirects lead (checklist E-031 to E-033). Nothing that is meant for the host that was asked goes to another one.

import { escapeText } from '../byte-string.js'
import { protocolError, RegistryError } from './registry-error.js'
import { discard, type HttpRequest, type HttpResponse, type Transport } from './transport.js'

/** How to ask the target of a redirect. */
export type RequestFor = (url: URL) => Omit<HttpRequest, 'url'>

/**
 * Gives the first answer that leads nowhere else.
 *
 * @throws RegistryError for too many redirects, ones without a target, to plain http from https, or to refused addresses
 */
export async function followRedirects(
  transport: Transport,
  first: HttpResponse,
  requestFor: RequestFor,
): Promise<HttpResponse> {
  let response = first
  for (let hops = 0; REDIRECTS.has(response.status); hops++) {
    const { what } = requestFor(response.url)
    const location = response.header('location')
    discard(response)
    if (hops >= MAX_REDIRECTS) throw protocolError(what, 'it is redirected in circles')
    const url = targetOf(location, response.url, what)
    response = await transport.send({ ...requestFor(url), url })
  }
  return response
}

function targetOf(location: string | undefined, from: URL, what: string): URL {
  if (location === undefined || !URL.canParse(location, from.href)) {
    throw protocolError(what, 'it is redirected to nowhere')
  }
  const url = new URL(location, from)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw protocolError(what, 'it is redirected to something else than http')
  }
  if (from.protocol === 'https:' && url.protocol === 'http:') {
    const why = `it is redirected from https to plain http at ${escapeText(url.host)}`
    throw new RegistryError('REGISTRY_DENIED', `Cannot ${what}: ${why}`)
  }
  url.username = ''
  url.password = ''
  return url
}

const MAX_REDIRECTS = 10
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])
