// Names of images in registries, by the grammar and the customs of Docker's distribution project:
//   name = [domain "/"] path [":" tag] ["@" digest]
// A first part is a domain when a "/" follows and it is `localhost`, holds "." or ":", or has an upper-case letter.
// Without one, docker.io is meant, where a path of one part is one of its `library`.

import { OcimountError } from '../errors.js'
import { digestProblem, isSupportedDigest, parseDigest, type Digest } from '../image/digest.js'
import { quote } from '../image/quote.js'

/** A name with its defaults filled in. */
export interface RegistryName {
  /** Host, with a port where one was given. */
  readonly domain: string
  /** Name of the repository within the registry. */
  readonly repository: string
  /** Only informative beside a digest; `latest` where neither was given. */
  readonly tag?: string
  readonly digest?: Digest
}

/**
 * Parses a name.
 *
 * @throws OcimountError `REFERENCE_INVALID` that says which part is wrong
 */
export function parseRegistryName(text: string): RegistryName {
  // An image id without its algorithm would otherwise be taken for a repository of docker.io.
  if (/^[0-9a-f]{64}$/.test(text)) throw invalid(text, 'it is an image id, not a name')
  const { domain, rest } = splitDomain(text)
  if (!DOMAIN.test(domain)) throw invalid(text, `${quote(domain)} is not a host name`)
  const { path, tag, digestText } = splitRest(rest)
  if (!PATH.test(path)) throw invalid(text, pathProblem(path, text))
  const repository = domain === HUB && !path.includes('/') ? `library/${path}` : path
  if (domain.length + 1 + repository.length > MAX_NAME_LENGTH) {
    throw invalid(text, `the name is longer than ${MAX_NAME_LENGTH} characters`)
  }
  if (tag !== undefined && !TAG.test(tag)) throw invalid(text, `${quote(tag)} is not a tag`)
  const digest = digestText === undefined ? undefined : readDigest(text, digestText)
  const effectiveTag = tag ?? (digest === undefined ? 'latest' : undefined)
  return {
    domain,
    repository,
    ...(effectiveTag === undefined ? {} : { tag: effectiveTag }),
    ...(digest === undefined ? {} : { digest }),
  }
}

/** Writes a name in full, such as `docker.io/library/busybox:latest`. */
export function formatRegistryName(name: RegistryName): string {
  const tag = name.tag === undefined ? '' : `:${name.tag}`
  const digest = name.digest === undefined ? '' : `@${name.digest}`
  return `${name.domain}/${name.repository}${tag}${digest}`
}

function splitDomain(text: string): { domain: string; rest: string } {
  const slash = text.indexOf('/')
  const first = text.slice(0, Math.max(slash, 0))
  if (first === 'index.docker.io') return { domain: HUB, rest: text.slice(slash + 1) }
  const isDomain = first === 'localhost' || /[.:A-Z]/.test(first)
  return isDomain ? { domain: first, rest: text.slice(slash + 1) } : { domain: HUB, rest: text }
}

function splitRest(rest: string): { path: string; tag?: string; digestText?: string } {
  const at = rest.indexOf('@')
  const tagged = at === -1 ? rest : rest.slice(0, at)
  const colon = tagged.indexOf(':')
  return {
    path: colon === -1 ? tagged : tagged.slice(0, colon),
    ...(colon === -1 ? {} : { tag: tagged.slice(colon + 1) }),
    ...(at === -1 ? {} : { digestText: rest.slice(at + 1) }),
  }
}

function readDigest(text: string, digestText: string): Digest {
  const problem = digestProblem(digestText)
  if (problem !== undefined) throw invalid(text, `the digest is wrong: ${problem}`)
  const digest = parseDigest(digestText)
  if (!isSupportedDigest(digest)) throw invalid(text, 'only sha256 and sha512 can be verified')
  return digest
}

function pathProblem(path: string, text: string): string {
  if (path === '') return 'the repository is missing'
  const version = /^([^,]+),version=([^,]+)$/.exec(text)
  if (version !== null) {
    return `write ${quote(`${version[1] ?? ''}:${version[2] ?? ''}`)}; the form of rkt is not supported`
  }
  if (/[A-Z]/.test(path)) return `the repository ${quote(path)} must be in lower case`
  return `${quote(path)} is not the name of a repository`
}

function invalid(text: string, why: string): OcimountError {
  return new OcimountError(
    'REFERENCE_INVALID',
    `Cannot parse image reference ${quote(text)}: ${why}`,
  )
}

const HUB = 'docker.io'
/** Limit of the Docker tools for domain and repository together (distribution-spec "Pulling manifests"). */
const MAX_NAME_LENGTH = 255
const DOMAIN =
  /^(?:\[[a-fA-F0-9:]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)(?::[0-9]+)?$/
const PATH = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/
