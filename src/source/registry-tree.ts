// An image of a registry as a set of files: the layout in the cache, where whatever is asked for is brought in first.

import type { Follow } from '../cache/arrival.js'
import type { Cache } from '../cache/cache.js'
import { dropPartial, pullBlob } from '../cache/pull-blob.js'
import { escapeText } from '../byte-string.js'
import { isOcimountError, OcimountError } from '../errors.js'
import type { Descriptor } from '../image/descriptor.js'
import type { Digest, DiffId } from '../image/digest.js'
import { verifyDigest } from '../image/digest.js'
import { findLazyIndex } from '../image/lazy-index.js'
import { parseManifestOrIndex } from '../image/image-index.js'
import { classifyMediaType } from '../image/media-types.js'
import type { FetchOptions, FileRegion, LayerBlob } from '../layer/layer-blob.js'
import { lazyLayerId, lookForData } from '../layer/layer-store.js'
import { firstPart, nextPart } from '../layer/lazy-index.js'
import type { BlobPart, RegistryClient } from '../registry/client.js'
import type { ReferrerList, ReferrerOptions } from '../registry/referrers.js'
import { DEFAULT_PATIENCE_MS, RegistryRanges } from './blob-ranges.js'
import { DirectoryTree } from './directory-tree.js'
import type { FileTree, RegistryActivity } from './file-tree.js'
import { LocalFile } from './local-file.js'
import { RangeQueue } from './range-queue.js'

export interface RegistryTreeOptions {
  /** The image's name in full. */
  readonly name: string
  readonly cache: Cache
  /** Undefined: nobody is asked, and what is not in the cache is missing. */
  readonly client: RegistryClient | undefined
  readonly signal?: AbortSignal | undefined
  /** How long a read of a mount waits for a registry that says nothing. */
  readonly patienceMs?: number | undefined
  /** Until the document that the name means is in the cache. */
  readonly stored?: Promise<void> | undefined
}

export class RegistryTree implements FileTree {
  readonly path: string
  readonly isArchive = false
  readonly #options: RegistryTreeOptions
  readonly #layout: DirectoryTree
  readonly #layers = new Map<Digest, { readonly size: number; fetched: number }>()
  readonly #queue = new RangeQueue()
  /** Of which something was asked for already. */
  readonly #anticipated = new Map<Digest, RegistryRanges>()

  constructor(options: RegistryTreeOptions) {
    this.path = options.name
    this.#options = options
    this.#layout = DirectoryTree.open(options.cache.root)
  }

  find(name: string): Promise<FileRegion | undefined> {
    return this.#layout.find(name)
  }

  read(region: FileRegion): Promise<Buffer> {
    return this.#layout.read(region)
  }

  /** The cache holds blobs of other images too; none of them is a part of this one. */
  list(): Promise<readonly string[]> {
    return Promise.resolve([])
  }

  close(): void {
    void this.#options.client?.close()
  }

  activity(): RegistryActivity {
    return {
      layers: [...this.#layers].map(([digest, counts]) => ({ digest, ...counts })),
      lastError: this.#options.client?.lastFailure,
    }
  }

  async settled(): Promise<void> {
    await this.#options.stored
  }

  /**
   * Asks for what the layers of a manifest begin with that can be read in parts, while the config is read and what came is stored.
   * What goes wrong is told to whoever reads it.
   */
  anticipate(document: Buffer): void {
    this.#anticipate(document).catch(() => undefined)
  }

  async #anticipate(document: Buffer): Promise<void> {
    const parsed = parseManifestOrIndex(document)
    if (!('manifest' in parsed)) return
    const { cache, signal } = this.#options
    let budget = MAX_ANTICIPATED
    for (const { digest, size, urls, annotations } of parsed.manifest.layers) {
      const claim = findLazyIndex(annotations)
      if (claim === undefined || !('index' in claim) || this.#layers.has(digest)) continue
      const { index } = claim
      const part = firstPart(index, size)
      budget -= part?.length ?? 0
      if (part === undefined || budget < 0) continue
      if (await cache.hasBlob(digest)) continue
      if ((await lookForData(lazyLayerId(index), cache)) !== 'none') continue
      // Somebody may have come for it meanwhile.
      if (this.#layers.has(digest)) continue
      this.#noteLayer(digest, size)
      const ranges = this.#rangesOf({ digest, size, ...(urls === undefined ? {} : { urls }) })
      this.#anticipated.set(digest, ranges)
      void ranges.anticipate(part, signal).then((bytes) => {
        const next = bytes && nextPart(index, size, bytes)
        budget -= next?.length ?? 0
        if (next !== undefined && budget >= 0) void ranges.anticipate(next, signal)
      })
    }
  }

  async bring(descriptor: Descriptor): Promise<void> {
    const { cache, signal } = this.#options
    const { digest } = descriptor
    if (await this.#isRight(descriptor)) {
      await dropPartial(cache, digest)
      return
    }
    const role = classifyMediaType(descriptor.mediaType)
    if (role !== 'manifest' && role !== 'index') {
      await this.#pull(descriptor, { signal })
      return
    }
    // Manifests have an endpoint of their own (checklist E-030).
    const client = this.#clientFor(`${role} ${digest}`, digest)
    const { bytes } = await asMissing(client.fetchManifest(digest, { signal }))
    await cache.putBlob(digest, [bytes], { size: bytes.length, signal })
  }

  async referrers(subject: Digest, options: ReferrerOptions): Promise<ReferrerList> {
    const { client, name, signal } = this.#options
    if (client === undefined) {
      const message = `Cannot list what refers to ${escapeText(name)}: --offline was given`
      throw new OcimountError('REFERENCE_NOT_FOUND', message)
    }
    return client.listReferrers(subject, { ...options, signal: options.signal ?? signal })
  }

  layer(layer: Descriptor, diffId: DiffId): LayerBlob {
    const { digest, size, mediaType, urls, annotations } = layer
    const path = this.#options.cache.blobPath(digest)
    const descriptor = { digest, size, ...(urls === undefined ? {} : { urls }) }
    this.#noteLayer(digest, size)
    // The manifest was verified, and so are these with it.
    const claim = findLazyIndex(annotations)
    const ranges = this.#anticipated.get(digest) ?? this.#rangesOf(descriptor)
    this.#anticipated.delete(digest)
    return {
      ...(claim === undefined ? {} : { lazy: { claim, ranges } }),
      region: { path, offset: 0, length: size, identity: NOT_THERE },
      ...{ digest, diffId, mediaType },
      fetch: async (options) => {
        const { follow, ...others } = options
        const here = { offset: 0, length: size, identity: NOT_THERE, isArriving: true } as const
        await this.#pull(descriptor, {
          ...others,
          follow: async (file) => {
            const region = { path: file.path, ...here }
            await follow?.({ ...file, blob: { region, digest, diffId, mediaType } })
            await file.placed
            await this.#noteVerified(this.#regionOf(path), digest, diffId)
          },
        })
        const again = this.#rangesOf(descriptor)
        return { region: this.#regionOf(path), digest, diffId, mediaType, again }
      },
    }
  }

  #noteLayer(digest: Digest, size: number): void {
    if (!this.#layers.has(digest)) this.#layers.set(digest, { size, fetched: 0 })
  }

  #rangesOf(descriptor: Pick<Descriptor, 'digest' | 'size' | 'urls'>): RegistryRanges {
    const { patienceMs = DEFAULT_PATIENCE_MS } = this.#options
    const { digest } = descriptor
    const readBlob = (range: BlobPart): AsyncIterable<Buffer> =>
      this.#counted(digest, this.#clientFor(`blob ${digest}`, digest).readBlob(descriptor, range))
    return new RegistryRanges({ digest, readBlob, queue: this.#queue, patienceMs })
  }

  async #pull(
    descriptor: Pick<Descriptor, 'digest' | 'size' | 'urls'>,
    { signal, onProgress, follow }: Omit<FetchOptions, 'follow'> & { follow?: Follow | undefined },
  ): Promise<void> {
    const { digest, size } = descriptor
    let client: RegistryClient | undefined
    await asMissing(
      pullBlob(this.#options.cache, digest, {
        ...{ size, signal, follow },
        read: (offset) => {
          client = this.#clientFor(`blob ${digest}`, digest)
          return this.#counted(digest, client.readBlob(descriptor, { offset, signal }))
        },
        onMismatch: () => client?.distrust(digest) ?? Promise.resolve(false),
        onProgress:
          onProgress &&
          ((done) => {
            onProgress({ done, total: size })
          }),
      }),
    )
  }

  async *#counted(digest: Digest, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    const layer = this.#layers.get(digest)
    for await (const chunk of chunks) {
      if (layer !== undefined) layer.fetched += chunk.length
      yield chunk
    }
  }

  /** Documents are small: one in the cache that somebody has changed is found out, and fetched again. */
  async #isRight({ digest, size }: Descriptor): Promise<boolean> {
    const { cache } = this.#options
    if (!(await cache.hasBlob(digest))) return false
    try {
      const region = this.#regionOf(cache.blobPath(digest))
      if (region.length === size) verifyDigest(await this.read(region), digest, `blob ${digest}`)
      // A size that is wrong is the descriptor's fault, and told by whoever reads the document.
      return true
    } catch (error) {
      if (!isOcimountError(error, 'DIGEST_MISMATCH')) throw error
      await cache.dropBlob(digest)
      return false
    }
  }

  /** A plain layer is its own device; its bytes have just been hashed to this name, on their way into the cache. */
  async #noteVerified(region: FileRegion, digest: Digest, diffId: DiffId): Promise<void> {
    if (digest !== diffId) return
    const { identity, offset, length } = region
    const known = { form: 'plain', offset, length, diffId } as const
    await this.#options.cache.mergeArchiveRecord(identity, [known])
  }

  #regionOf(path: string): FileRegion {
    const file = LocalFile.open(path)
    try {
      return { path, offset: 0, length: file.size, identity: file.identity }
    } finally {
      file.close()
    }
  }

  #clientFor(what: string, digest: Digest): RegistryClient {
    const { client, name } = this.#options
    if (client !== undefined) return client
    const message = `Cannot read ${what} of ${escapeText(name)}: it is not in the cache, and --offline was given`
    throw new OcimountError('BLOB_MISSING', message, { details: { digest } })
  }
}

/** That a manifest names something which its registry lacks is a fault of the image, not of what the user asked for. */
async function asMissing<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!isOcimountError(error, 'REFERENCE_NOT_FOUND')) throw error
    throw new OcimountError('BLOB_MISSING', error.message, { cause: error, details: error.details })
  }
}

/** Of all layers. */
const MAX_ANTICIPATED = 16 * 1024 * 1024

/** Of no file: a layer that is opened without being fetched is refused. */
const NOT_THERE = { dev: '0', ino: '0', size: 0, mtimeNs: '0', ctimeNs: '0' } as const
