// What refers to a manifest, such as signatures and lists of parts: as the registry lists it, or by a tag where it has no such list.
// A list is covered by no digest, so each entry is believed when its manifest says the same (checklist E-090 to E-095).

import { escapeText } from '../byte-string.js'
import { isOcimountError, OcimountError } from '../errors.js'
import { verifySize, type Descriptor } from '../image/descriptor.js'
import { digestAlgorithm, digestHex, type Digest } from '../image/digest.js'
import type { DocumentHead } from '../image/document.js'
import { parseImageIndex, parseManifestOrIndex } from '../image/image-index.js'
import { MAX_MANIFEST_SIZE } from '../image/limits.js'
import { artifactTypeOf } from '../image/manifest.js'
import { OCI_INDEX } from '../image/media-types.js'
import type { FetchedManifest } from './manifest-response.js'
import { protocolError, RegistryError } from './registry-error.js'
import { refuseEncoding } from './response-checks.js'
import type { Site } from './site.js'
import { readBody } from './transport.js'

/** Something that refers to a manifest; all of it is what its own manifest says. */
export interface Referrer {
  readonly subject: Digest
  readonly digest: Digest
  readonly mediaType: string
  /** Empty where nothing says what it is. */
  readonly artifactType: string
  /** Of its manifest. */
  readonly size: number
  readonly annotations: ReadonlyMap<string, string>
}

export interface ReferrerList {
  readonly referrers: readonly Referrer[]
  /** What the registry lists and is not so. */
  readonly warnings: readonly string[]
}

export interface ReferrerOptions {
  /** Only these. */
  readonly artifactType?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export interface ReferrerSource {
  readonly site: Site
  /** In words that follow "Cannot ". */
  readonly what: string
  /** Runs a request, and again where it may succeed then. */
  readonly retry: <T>(work: () => Promise<T>) => Promise<T>
  /** Gets a manifest whose bytes are right. */
  readonly fetchManifest: (digest: Digest) => Promise<FetchedManifest>
}

/** Lists what refers to a manifest. Whatever is listed and does not is left out, with a warning. */
export async function listReferrers(
  source: ReferrerSource,
  subject: Digest,
  { artifactType, signal }: ReferrerOptions,
): Promise<ReferrerList> {
  const listed =
    (await listByApi(source, subject, { artifactType, signal })) ??
    (await listByTag(source, subject, signal))
  const distinct = [
    ...new Map(listed.map((descriptor) => [descriptor.digest, descriptor])).values(),
  ]
  const referrers: Referrer[] = []
  const warnings: string[] = []
  for (let at = 0; at < distinct.length; at += AT_A_TIME) {
    const some = distinct.slice(at, at + AT_A_TIME)
    const checked = await Promise.all(some.map((one) => check(source, subject, one)))
    for (const one of checked) {
      if (typeof one === 'string') warnings.push(one)
      // Whatever filter the registry says that it applied (checklist E-093).
      else if (artifactType === undefined || one.artifactType === artifactType) referrers.push(one)
    }
  }
  return { referrers, warnings }
}

const AT_A_TIME = 6
const MAX_PAGES = 50
const MAX_REFERRERS = 1000

/** Gives undefined where the registry has no such list. */
async function listByApi(
  source: ReferrerSource,
  subject: Digest,
  { artifactType, signal }: ReferrerOptions,
): Promise<readonly Descriptor[] | undefined> {
  const filter =
    artifactType === undefined ? '' : `?${new URLSearchParams({ artifactType }).toString()}`
  const first = `referrers/${subject}`
  const listed: Descriptor[] = []
  let path: string | undefined = first + filter
  for (let pages = 0; path !== undefined; pages++) {
    if (pages >= MAX_PAGES) throw tooMany(source, `${MAX_PAGES} pages`)
    const page = await getPage(source, path, signal)
    if (page === undefined) {
      if (pages === 0) return undefined
      throw protocolError(source.what, 'the list ends in the middle')
    }
    listed.push(...parseImageIndex(page.bytes, OCI_INDEX).manifests)
    if (listed.length > MAX_REFERRERS) throw tooMany(source, `${MAX_REFERRERS} entries`)
    path = page.next
    if (path !== undefined && !path.startsWith(first)) {
      throw protocolError(source.what, 'the list goes on somewhere else, which is not followed')
    }
  }
  return listed
}

/** Where a registry has no list, whoever pushes a referrer puts it into an index with this tag. */
async function listByTag(
  source: ReferrerSource,
  subject: Digest,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[]> {
  const page = await getPage(source, `manifests/${referrersTag(subject)}`, signal)
  if (page === undefined) return []
  try {
    const { manifests } = parseImageIndex(page.bytes)
    if (manifests.length <= MAX_REFERRERS) return manifests
  } catch (error) {
    // Somebody uses the tag for something else (checklist E-092).
    if (isOcimountError(error, ...UNUSABLE)) return []
    throw error
  }
  throw tooMany(source, `${MAX_REFERRERS} entries`)
}

/** Gives the tag under which referrers are kept where there is no list of them (checklist E-091). */
export function referrersTag(subject: Digest): string {
  const algorithm = digestAlgorithm(subject).slice(0, 32)
  return `${algorithm}-${digestHex(subject).slice(0, 64)}`.replace(/[^a-zA-Z0-9._-]/g, '-')
}

interface Page {
  readonly bytes: Buffer
  /** Of the next page, as {@link Site.get} takes it. */
  readonly next: string | undefined
}

/** Gives undefined for what is not there. */
async function getPage(
  { site, what, retry }: ReferrerSource,
  path: string,
  signal: AbortSignal | undefined,
): Promise<Page | undefined> {
  try {
    return await retry(async () => {
      const headers = { accept: OCI_INDEX, 'accept-encoding': 'identity' }
      const response = await site.get({ path, what, headers, signal })
      refuseEncoding(response, what)
      const bytes = await readBody(response, MAX_MANIFEST_SIZE)
      if (bytes === undefined) {
        const why = `its list is larger than ${MAX_MANIFEST_SIZE} bytes`
        throw new OcimountError('LIMIT_EXCEEDED', `Cannot ${what}: ${why}`)
      }
      const next = nextOf(response.header('link'))
      if (next === undefined) return { bytes, next }
      const url = URL.canParse(next, response.url.href) ? new URL(next, response.url) : undefined
      const nextPath = url === undefined ? undefined : site.pathOf(url)
      if (nextPath === undefined) {
        throw protocolError(what, 'the list goes on somewhere else, which is not followed')
      }
      return { bytes, next: nextPath }
    })
  } catch (error) {
    if (error instanceof RegistryError && NO_SUCH.has(error.details['status'])) return undefined
    throw error
  }
}

function nextOf(link: string | undefined): string | undefined {
  return /<([^<>]*)>\s*;[^,<]*\brel\s*=\s*"?next"?/i.exec(link ?? '')?.[1]
}

/** Compares what is listed with what it is; gives what is wrong with it in words. */
async function check(
  { fetchManifest }: ReferrerSource,
  subject: Digest,
  { digest, mediaType, size }: Descriptor,
): Promise<Referrer | string> {
  const wrong = (why: string): string =>
    `${digest} is listed as referring to ${subject}, but ${why}`
  try {
    const { bytes } = await fetchManifest(digest)
    verifySize(bytes.length, size, `manifest ${digest}`)
    const parsed = parseManifestOrIndex(bytes, mediaType)
    const head: DocumentHead = 'manifest' in parsed ? parsed.manifest : parsed.index
    const refersTo = head.subject?.digest
    if (refersTo === undefined) return wrong('refers to nothing')
    if (refersTo !== subject) return wrong(`refers to ${refersTo}`)
    const artifactType =
      'manifest' in parsed ? artifactTypeOf(parsed.manifest) : (head.artifactType ?? '')
    const { annotations } = head
    return { subject, digest, mediaType: head.mediaType, artifactType, size, annotations }
  } catch (error) {
    if (isOcimountError(error, 'REFERENCE_NOT_FOUND')) return wrong('it is not there')
    if (!isOcimountError(error, ...UNUSABLE)) throw error
    return wrong(`it cannot be used: ${escapeText(error.message)}`)
  }
}

function tooMany({ what }: ReferrerSource, most: string): OcimountError {
  return new OcimountError('LIMIT_EXCEEDED', `Cannot ${what}: its list has more than ${most}`)
}

/** What registries without this list answer. */
const NO_SUCH: ReadonlySet<unknown> = new Set([404, 405, 501])
const UNUSABLE = [
  ...(['IMAGE_INVALID', 'IMAGE_UNSUPPORTED', 'LIMIT_EXCEEDED'] as const),
  ...(['SIZE_MISMATCH', 'DIGEST_MISMATCH'] as const),
] as const
