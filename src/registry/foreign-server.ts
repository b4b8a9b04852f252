// The addresses that a descriptor gives for a layer which registries leave to its owner (checklist E-043, A-050). They come from
// an image: nothing is shown to them, and they lead neither to this machine nor to link-local addresses.

import { escapeText } from '../byte-string.js'
import { isLoopbackHost } from './hosts.js'
import { protocolError } from './registry-error.js'
import { followRedirects } from './redirects.js'
import { responseError } from './response-error.js'
import type { BlobServer, SiteRequest } from './site.js'
import type { HttpResponse, Transport } from './transport.js'

/** One such address. */
export class ForeignServer implements BlobServer {
  readonly #url: string
  readonly #transport: Transport
  readonly #isLoopback: boolean

  /** `registryHost`: only a registry on this machine may lead to this machine. */
  constructor(url: string, registryHost: string, transport: Transport) {
    this.#url = url
    this.#transport = transport
    this.#isLoopback = isLoopbackHost(registryHost)
  }

  get host(): string {
    return URL.canParse(this.#url) ? new URL(this.#url).host : this.#url
  }

  async get({ what, headers, signal }: SiteRequest): Promise<HttpResponse> {
    const url = URL.canParse(this.#url) ? new URL(this.#url) : undefined
    const isHttp = url?.protocol === 'https:' || url?.protocol === 'http:'
    if (url === undefined || !isHttp || url.username !== '' || url.password !== '') {
      const shown = escapeText((url?.host ?? this.#url).slice(0, 100))
      throw protocolError(what, `its descriptor leads to ${shown}, which is not followed`)
    }
    const request = { what, headers, signal, chosenBy: { isLoopback: this.#isLoopback } }
    const first = await this.#transport.send({ ...request, url })
    const response = await followRedirects(this.#transport, first, () => request)
    if (response.status === 200 || response.status === 206) return response
    throw await responseError(response, what)
  }
}
