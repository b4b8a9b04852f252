// What the command line takes for IMAGE (DESIGN section 9): a path, `-`, `transport:PATH[:REF]` in the manner of
// skopeo, `docker://NAME` or a bare registry name.

import { OcimountError } from '../errors.js'
import { quote } from '../image/quote.js'
import { formatRegistryName, parseRegistryName, type RegistryName } from './registry-name.js'

/** Ways of naming a kind of source outright. */
export type Transport = 'docker-archive' | 'oci-archive' | 'oci' | 'dir'

export type ParsedReference =
  | { readonly kind: 'path'; readonly path: string }
  /** An archive on standard input. */
  | { readonly kind: 'stdin' }
  | {
      readonly kind: 'transport'
      readonly transport: Transport
      readonly path: string
      /** As it is written; for parseSelector(). */
      readonly selector?: string
    }
  | ({ readonly kind: 'registry' } & RegistryName)

/**
 * Parses what a user typed to name an image.
 *
 * An existing path of that very name comes before every other meaning; whether there is one is for the caller
 * to see, since this does no I/O. What is here taken for a path need not exist: it begins or ends like one, or ends
 * like the name of an archive.
 *
 * @throws OcimountError `REFERENCE_INVALID`; `IMAGE_UNSUPPORTED` for the transports that other tools have, saying
 *   how to get the image out of there
 */
export function parseImageReference(text: string): ParsedReference {
  if (text === '') throw invalid(text, 'it is empty')
  if (text.includes('\0')) throw invalid(text, 'it holds a NUL')
  if (text === '-') return { kind: 'stdin' }
  if (text.startsWith('docker://')) return registry(text.slice('docker://'.length))
  const colon = text.indexOf(':')
  const scheme = text.slice(0, Math.max(colon, 0))
  const refusal = REFUSED_TRANSPORTS.get(scheme)
  if (refusal !== undefined) {
    throw new OcimountError('IMAGE_UNSUPPORTED', `Cannot open image ${quote(text)}: ${refusal}`)
  }
  if (isTransport(scheme)) return parseTransport(text, scheme, text.slice(colon + 1))
  if (/^(?:https?|file):\/\//i.test(text)) {
    throw invalid(
      text,
      'it is a URL; write docker://HOST/NAME for an image in a registry, or a path',
    )
  }
  return looksLikePath(text) ? { kind: 'path', path: text } : registry(text)
}

/**
 * Gives the full form of a registry name: `busybox` is `docker.io/library/busybox:latest`.
 *
 * @throws OcimountError `REFERENCE_INVALID`
 */
export function normalizeName(name: string): string {
  return formatRegistryName(parseRegistryName(name))
}

/** Tells whether two names mean the same image; ones that are not registry names must be equal (checklist D-013). */
export function isSameName(a: string, b: string): boolean {
  return a === b || normalizedOrSelf(a) === normalizedOrSelf(b)
}

function registry(name: string): ParsedReference {
  return { kind: 'registry', ...parseRegistryName(name) }
}

/** The path ends at the first colon, as skopeo has it; that of `dir:` has no end. */
function parseTransport(text: string, transport: Transport, rest: string): ParsedReference {
  const colon = transport === 'dir' ? -1 : rest.indexOf(':')
  const path = colon === -1 ? rest : rest.slice(0, colon)
  if (path === '') throw invalid(text, `${transport}: needs a path`)
  if (colon === -1) return { kind: 'transport', transport, path }
  const selector = rest.slice(colon + 1)
  if (selector === '') throw invalid(text, 'nothing follows the last colon')
  return { kind: 'transport', transport, path, selector }
}

function looksLikePath(text: string): boolean {
  return /^(?:\.{0,2}\/|\.{1,2}$|~)/.test(text) || text.endsWith('/') || ARCHIVE_NAME.test(text)
}

function isTransport(scheme: string): scheme is Transport {
  return TRANSPORTS.has(scheme)
}

function normalizedOrSelf(name: string): string {
  try {
    return normalizeName(name)
  } catch (error) {
    if (error instanceof OcimountError) return name
    throw error
  }
}

function invalid(text: string, why: string): OcimountError {
  return new OcimountError(
    'REFERENCE_INVALID',
    `Cannot parse image reference ${quote(text)}: ${why}`,
  )
}

const TRANSPORTS: ReadonlySet<string> = new Set<Transport>([
  'docker-archive',
  'oci-archive',
  'oci',
  'dir',
])
/** No repository is named like this, and a mistyped file name should not send anybody to a registry. */
const ARCHIVE_NAME = /^[^:@]*\.(?:tar|tgz|tzst|tbz2|txz|zip|oci|tar\.[a-z0-9]{1,5})$/i

const SAVE_FIRST = 'save the image to an archive first'
const REFUSED_TRANSPORTS: ReadonlyMap<string, string> = new Map([
  [
    'containers-storage',
    `the storage of podman is not read directly; ${SAVE_FIRST}: podman save -o image.tar NAME`,
  ],
  [
    'docker-daemon',
    `the Docker daemon is not asked for images; ${SAVE_FIRST}: docker save -o image.tar NAME`,
  ],
  [
    'sif',
    `Singularity images are not supported; convert it first: skopeo copy sif:PATH oci:DIRECTORY`,
  ],
  [
    'ostree',
    `OSTree repositories are not supported; convert it first: skopeo copy ostree:NAME oci:DIRECTORY`,
  ],
  [
    'tarball',
    `a bare root filesystem is not an image; make one first: skopeo copy tarball:PATH oci:DIRECTORY`,
  ],
])
