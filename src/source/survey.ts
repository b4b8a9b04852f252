// The first half of validation: goes through all documents, reports what is wrong with them, and lists the layers
// and other blobs that are to be read from end to end.

import { escapeText } from '../byte-string.js'
import { isOcimountError } from '../errors.js'
import { isRefName } from '../image/annotations.js'
import type { Descriptor } from '../image/descriptor.js'
import { verifySize } from '../image/descriptor.js'
import type { Digest } from '../image/digest.js'
import { digestProblem, isSupportedDigest } from '../image/digest.js'
import type { DockerArchiveItem } from '../image/docker-archive.js'
import { classifyMediaType } from '../image/media-types.js'
import { matchesPlatform } from '../image/platform-choice.js'
import type { Platform } from '../image/platform.js'
import type { FileRegion, LayerBlob } from '../layer/layer-blob.js'
import { matchRef } from './choose.js'
import { blobMissing } from './documents.js'
import type { Findings } from './finding.js'
import { isImageManifest, readConfig, readItemConfig, readManifest } from './image-documents.js'
import { checkCount, findItemLayer, findManifestLayer, refuseForeignType } from './layer-blobs.js'
import { findLeaves } from './leaves.js'
import type { OpenedSource } from './open-source.js'
import type { Root } from './root.js'

/** A layer to be read, and what findings call it. */
export interface SurveyedLayer extends LayerBlob {
  readonly where: string
}

/** Any other blob to be read. */
export interface SurveyedBlob {
  readonly where: string
  readonly region: FileRegion
  readonly digest: Digest
}

/** One walk over the documents of a source. */
export class Survey {
  readonly #source: OpenedSource
  readonly #findings: Findings
  readonly #layers = new Map<string, SurveyedLayer>()
  readonly #blobs = new Map<Digest, SurveyedBlob>()
  /** Digests that a document names, whatever came of it. */
  readonly #named = new Set<string>()

  constructor(source: OpenedSource, findings: Findings) {
    this.#source = source
    this.#findings = findings
  }

  /** Gives the layers that were found, each content once. */
  get layers(): readonly SurveyedLayer[] {
    return [...this.#layers.values()]
  }

  /** Gives the blobs that were found and are read for nothing else. */
  get blobs(): readonly SurveyedBlob[] {
    const layers = new Set(this.layers.map(({ digest }) => digest))
    return [...this.#blobs.values()].filter(({ digest }) => !layers.has(digest))
  }

  /**
   * Walks over what `ref` means, or over everything.
   *
   * @throws OcimountError `REFERENCE_NOT_FOUND`, `REFERENCE_INVALID`, `STORAGE_FAILED`, `SOURCE_CHANGED`
   */
  async visit(ref: string | undefined, platform: Platform | undefined): Promise<void> {
    const { documents, roots, warnings } = this.#source
    for (const warning of warnings) this.#findings.warn('index.json', warning)
    if (ref !== undefined) {
      for (const { root, leaf } of await matchRef(documents, roots, ref)) {
        if (leaf === undefined) await this.#visitRoot(root, platform)
        else await this.#visitLeaf(root, leaf)
      }
      return
    }
    if (roots.length === 0) this.#findings.warn('source', 'it lists no image')
    for (const root of roots) await this.#visitRoot(root, platform)
    if (platform === undefined) await this.#visitUnused()
  }

  async #visitRoot(root: Root, platform: Platform | undefined): Promise<void> {
    for (const name of [...root.names, ...root.aliases]) {
      if (root.descriptor === undefined || isRefName(name)) continue
      this.#findings.warn('index.json', `${escapeText(name)} is not a valid name of an image`)
    }
    if (root.item !== undefined) await this.#visitItem(root.item)
    const { descriptor } = root
    if (descriptor === undefined) return
    this.#named.add(descriptor.digest)
    const where = `index ${descriptor.digest}`
    const found = await this.#findings.attempt(where, () =>
      findLeaves(this.#source.documents, descriptor),
    )
    if (found === undefined) return
    for (const warning of found.warnings) this.#findings.warn(where, warning)
    for (const { digest } of found.missing) this.#warnMissing('index', digest)
    for (const leaf of found.leaves) {
      this.#named.add(leaf.digest)
      if (platform !== undefined && leaf.platform !== undefined) {
        if (!matchesPlatform(leaf.platform, platform)) continue
      }
      await this.#visitLeaf(root, leaf)
    }
  }

  async #visitLeaf(root: Root, leaf: Descriptor): Promise<void> {
    const { documents } = this.#source
    const where = `manifest ${leaf.digest}`
    let document
    try {
      document = await readManifest(documents, leaf)
    } catch (error) {
      if (isOcimountError(error, 'BLOB_MISSING') && leaf !== root.descriptor) {
        this.#warnMissing('manifest', leaf.digest)
      } else if (classifyMediaType(leaf.mediaType) === 'unknown') {
        // Whatever it is, it is there and can be hashed; what it means is nobody's business here (checklist A-087).
        await this.#addBlob(where, leaf)
      } else {
        this.#findings.take(where, error)
      }
      return
    }
    const { manifest } = document
    for (const warning of manifest.warnings) this.#findings.warn(where, warning)
    if (!isImageManifest(manifest)) {
      for (const blob of [manifest.config, ...manifest.layers]) await this.#addBlob(where, blob)
      return
    }
    this.#named.add(manifest.config.digest)
    const manifestDocument = document
    const config = await this.#findings.attempt(where, () =>
      readConfig(documents, manifestDocument),
    )
    for (const warning of config?.config.warnings ?? []) {
      this.#findings.warn(`config ${manifest.config.digest}`, warning)
    }
    const diffIds = config?.config.diffIds
    if (diffIds !== undefined) {
      this.#check(where, () => {
        checkCount(manifest.layers.length, diffIds.length)
      })
    }
    for (const [index, descriptor] of manifest.layers.entries()) {
      this.#named.add(descriptor.digest)
      const place = `layer ${index} of ${leaf.digest}`
      const diffId = diffIds?.[index]
      const isLayer = this.#check(place, () => {
        refuseForeignType(descriptor, index)
      })
      if (diffId === undefined || !isLayer) await this.#addBlob(place, descriptor)
      else {
        await this.#addLayer(place, () => findManifestLayer(documents, descriptor, index, diffId))
      }
    }
  }

  async #visitItem(item: DockerArchiveItem): Promise<void> {
    const { documents } = this.#source
    const where = `image ${escapeText(item.config)}`
    const config = await this.#findings.attempt(where, () => readItemConfig(documents, item))
    if (config === undefined) return
    this.#named.add(config.digest)
    const { diffIds, warnings } = config.config
    for (const warning of warnings) this.#findings.warn(where, warning)
    this.#check(where, () => {
      checkCount(item.layers.length, diffIds.length)
    })
    for (const [index, diffId] of diffIds.slice(0, item.layers.length).entries()) {
      const place = `layer ${index} of ${escapeText(item.config)}`
      await this.#addLayer(place, () => findItemLayer(documents, item, index, diffId))
    }
  }

  /** Blobs that nothing leads to are allowed, but their names must be right (checklist ). */
  async #visitUnused(): Promise<void> {
    const { tree } = this.#source.documents
    for (const algorithm of await tree.list('blobs')) {
      if (!algorithm.endsWith('/')) continue
      for (const name of await tree.list(`blobs/${algorithm.slice(0, -1)}`)) {
        const digest = `${algorithm.slice(0, -1)}:${name}` as Digest
        if (this.#named.has(digest) || digestProblem(digest) !== undefined) continue
        if (!isSupportedDigest(digest)) continue
        const where = `blob ${digest}`
        await this.#findings.attempt(where, async () => {
          const region = await this.#source.documents.locate(digest)
          if (region !== undefined) this.#blobs.set(digest, { where, region, digest })
        })
      }
    }
  }

  async #addLayer(where: string, find: () => Promise<LayerBlob>): Promise<void> {
    const layer = await this.#findings.attempt(where, find)
    if (layer === undefined) return
    const { region, digest, diffId } = layer
    if (digest !== undefined) this.#named.add(digest)
    const key = JSON.stringify([region.path, region.offset, digest, diffId])
    if (!this.#layers.has(key)) this.#layers.set(key, { ...layer, where })
  }

  async #addBlob(where: string, descriptor: Descriptor): Promise<void> {
    const { documents } = this.#source
    const { digest, size } = descriptor
    this.#named.add(digest)
    await this.#findings.attempt(where, async () => {
      await documents.tree.bring?.(descriptor)
      const region = await documents.locate(digest)
      if (region !== undefined) {
        verifySize(region.length, size, `blob ${digest}`)
        if (isSupportedDigest(digest)) this.#blobs.set(digest, { where, region, digest })
      } else if (descriptor.data === undefined) {
        throw blobMissing(documents.tree.path, `blob ${digest}`, digest)
      }
    })
  }

  #check(where: string, check: () => void): boolean {
    try {
      check()
      return true
    } catch (error) {
      this.#findings.take(where, error)
      return false
    }
  }

  /** Other platforms than the one that was saved may be listed without being there (checklist D-025). */
  #warnMissing(kind: string, digest: Digest): void {
    const where = `${kind} ${digest}`
    this.#findings.take(
      where,
      blobMissing(this.#source.documents.tree.path, where, digest),
      'warning',
    )
  }
}
