// What an answer must not be, whatever it answers.

import { escapeText } from '../byte-string.js'
import { RegistryError } from './registry-error.js'
import { discard, type HttpResponse } from './transport.js'

/** @throws RegistryError for a body that something on the way has packed (checklist E-058) */
export function refuseEncoding(response: HttpResponse, what: string): void {
  const encoding = response.header('content-encoding')?.trim().toLowerCase()
  if (encoding === undefined || encoding === '' || encoding === 'identity') return
  discard(response)
  const shown = escapeText(encoding.slice(0, 40))
  throw new RegistryError(
    'REGISTRY_UNAVAILABLE',
    `Cannot ${what}: ${escapeText(response.url.host)} sends it encoded as ${shown}, which was not asked for`,
  )
}
