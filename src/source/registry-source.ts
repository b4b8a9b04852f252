// From a name in a registry to an open source: the tag is resolved once, and what it meant holds for as long as the source is
// open. A registry that cannot be reached does not matter where the cache knows what the name meant and has the bytes.

import { readFile } from 'node:fs/promises'
import type { Cache } from '../cache/cache.js'
import { findReference, storeReference, type StoredReference } from '../cache/references.js'
import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { digestAlgorithm, digestOf, type Digest } from '../image/digest.js'
import { parseManifestOrIndex } from '../image/image-index.js'
import { layoutBlobPath } from '../image/layout.js'
import { formatRegistryName, type RegistryName } from '../reference/registry-name.js'
import { RegistryClient, type RegistryOptions } from '../registry/client.js'
import { RegistryError } from '../registry/registry-error.js'
import { Documents } from './documents.js'
import { ImageSource } from './image-source.js'
import { RegistryTree } from './registry-tree.js'

export interface RegistrySourceOptions {
  readonly cache: Cache
  readonly signal?: AbortSignal | undefined
  readonly registry?: RegistryOptions | undefined
  /** Nobody is asked for anything. */
  readonly isOffline?: boolean | undefined
  /** How long a read of what is mounted waits for a registry that says nothing, in milliseconds. */
  readonly patienceMs?: number | undefined
  /** The tree of the image is wanted: what is sure to be asked for is asked for at once. */
  readonly forTree?: boolean | undefined
}

/**
 * Opens what a name means.
 *
 * @throws OcimountError `REFERENCE_NOT_FOUND`, `REGISTRY_DENIED`, `REGISTRY_UNAVAILABLE` with the registry's own words;
 *   `DIGEST_MISMATCH`, `IMAGE_INVALID`, `IMAGE_UNSUPPORTED`, `LIMIT_EXCEEDED`, `STORAGE_FULL`, `STORAGE_FAILED`,
 *   `INTERRUPTED`
 */
export async function openRegistry(
  name: RegistryName,
  options: RegistrySourceOptions,
): Promise<ImageSource> {
  const { cache, signal, isOffline = false, patienceMs } = options
  const full = formatRegistryName(name)
  const warnings: string[] = []
  const onWarning = (text: string): void => {
    warnings.push(text)
  }
  const client = isOffline
    ? undefined
    : new RegistryClient(name, { ...options.registry, onWarning })
  try {
    const resolved = await new Resolver(name, full, cache, client, signal).resolve()
    warnings.push(...resolved.warnings)
    const { reference, bytes: data, stored } = resolved
    const tree = new RegistryTree({ name: full, cache, client, signal, patienceMs, stored })
    if (options.forTree === true && data !== undefined) tree.anticipate(data)
    const root = {
      ...{ names: [full], aliases: [], positions: [0], item: undefined },
      descriptor: {
        ...{ ...reference, annotations: new Map<string, string>() },
        ...(data === undefined ? {} : { data }),
      },
    }
    const documents = new Documents(tree, (digest) => [layoutBlobPath(digest)])
    return ImageSource.of({ kind: 'registry', documents, roots: [root], warnings })
  } catch (error) {
    await client?.close()
    throw error
  }
}

interface Resolved {
  readonly reference: StoredReference
  readonly warnings: readonly string[]
  /** The document, where the registry has just sent it. */
  readonly bytes?: Buffer
  /** Until it is in the cache. */
  readonly stored?: Promise<void>
}

class Resolver {
  readonly #name: RegistryName
  readonly #full: string
  readonly #cache: Cache
  readonly #client: RegistryClient | undefined
  readonly #signal: AbortSignal | undefined

  constructor(
    name: RegistryName,
    full: string,
    cache: Cache,
    client: RegistryClient | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#name = name
    this.#full = full
    this.#cache = cache
    this.#client = client
    this.#signal = signal
  }

  async resolve(): Promise<Resolved> {
    const { digest, tag = '' } = this.#name
    if (digest !== undefined) {
      const stored = await this.#stored(digest)
      const known = stored === undefined ? await this.#ask(digest) : { reference: stored }
      return { ...known, warnings: [] }
    }
    const known = await findReference(this.#cache, this.#full)
    const stored = known === undefined ? undefined : await this.#stored(known.digest)
    if (this.#client === undefined && stored !== undefined)
      return { reference: stored, warnings: [] }
    try {
      // With something to fall back on, trouble is not waited out for long.
      const asked = await this.#ask(tag, stored === undefined ? undefined : 2)
      return { ...asked, warnings: [] }
    } catch (error) {
      const isDown = error instanceof RegistryError && (error.isUnreachable || error.isTransient)
      if (stored === undefined || !isDown) throw error
      const warning = `${error.message}; using ${stored.digest}, which the tag meant when it was last asked for`
      return { reference: stored, warnings: [warning] }
    }
  }

  async #ask(reference: string, attempts?: number): Promise<Omit<Resolved, 'warnings'>> {
    if (this.#client === undefined) {
      const why = 'it is not in the cache, and --offline was given'
      throw new OcimountError(
        'REFERENCE_NOT_FOUND',
        `Cannot open ${escapeText(this.#full)}: ${why}`,
      )
    }
    const signal = this.#signal
    const fetched = await this.#client.fetchManifest(reference, { signal, attempts })
    const { bytes, digest } = fetched
    const found = describe(bytes, digest, fetched.mediaType)
    const store = async (): Promise<void> => {
      await this.#cache.putBlob(digest, [bytes], { size: bytes.length, signal })
      await storeReference(this.#cache, this.#full, found)
    }
    const stored = store()
    // Whoever waits for it gets the error.
    stored.catch(() => undefined)
    return { reference: found, bytes, stored }
  }

  /** Reads a manifest out of the cache, if it is there and right. */
  async #stored(digest: Digest): Promise<StoredReference | undefined> {
    if (!(await this.#cache.hasBlob(digest))) return undefined
    const bytes = await readFile(this.#cache.blobPath(digest))
    if (digestOf(bytes, digestAlgorithm(digest)) !== digest) return undefined
    return describe(bytes, digest, undefined)
  }
}

/** What the registry says that it is, the document must say too (checklist E-024). */
function describe(bytes: Buffer, digest: Digest, mediaType: string | undefined): StoredReference {
  const parsed = parseManifestOrIndex(bytes, mediaType)
  const own = 'manifest' in parsed ? parsed.manifest.mediaType : parsed.index.mediaType
  return { mediaType: own, digest, size: bytes.length }
}
