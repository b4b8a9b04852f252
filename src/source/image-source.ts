// Everything that one archive or directory holds: what there is to choose from, documents, images.

import type { FileRegion } from '../layer/layer-blob.js'
import type { Digest } from '../image/digest.js'
import type { Platform } from '../image/platform.js'
import type { Candidate } from './candidate.js'
import { describeRoot } from './candidate.js'
import { chooseImage } from './choose.js'
import type { ChoiceOptions } from './choose.js'
import type { FileTree } from './file-tree.js'
import type { Image } from './image.js'
import type { ManifestDocument } from './image-documents.js'
import { readManifest } from './image-documents.js'
import { loadDocuments, loadImage } from './load-image.js'
import type { ImageDocuments } from './load-image.js'
import { openSource } from './open-source.js'
import type { OpenedSource } from './open-source.js'
import type { SourceKind } from './root.js'
import type { Transport } from '../reference/reference.js'

/** An open archive or directory; to be closed. */
export class ImageSource {
  /** What the path itself selected, as in `oci:PATH:REF`. */
  readonly selector: string | undefined
  readonly #source: OpenedSource

  private constructor(source: OpenedSource, selector: string | undefined) {
    this.#source = source
    this.selector = selector
  }

  /**
   * Finds out what a tree holds, and takes it over, also when it throws.
   *
   * @throws OcimountError as {@link openSource}
   */
  static async open(
    tree: FileTree,
    options: { transport?: Transport | undefined; selector?: string | undefined } = {},
  ): Promise<ImageSource> {
    try {
      return new ImageSource(await openSource(tree, options.transport), options.selector)
    } catch (error) {
      tree.close()
      throw error
    }
  }

  /** Takes over what was opened elsewhere. */
  static of(source: OpenedSource): ImageSource {
    return new ImageSource(source, undefined)
  }

  get kind(): SourceKind {
    return this.#source.kind
  }

  /** What the user named. */
  get path(): string {
    return this.#source.documents.tree.path
  }

  /** The parts, for a check of everything. */
  get opened(): OpenedSource {
    return this.#source
  }

  /** Describes every image, multi-platform image and artifact, in the order of `@N`. */
  async listCandidates(): Promise<readonly Candidate[]> {
    const { documents, roots } = this.#source
    const candidates = await Promise.all(roots.map((root) => describeRoot(documents, root)))
    await documents.tree.settled?.()
    return candidates
  }

  /**
   * Reads manifest and config of one image, which may have layers that cannot be used.
   *
   * @throws OcimountError as {@link chooseImage} and {@link loadDocuments}
   */
  async readDocuments(options: ChoiceOptions = {}): Promise<ImageDocuments> {
    const { documents, roots } = this.#source
    const choice = await chooseImage(documents, roots, this.#withSelector(options))
    const loaded = await loadDocuments(documents, choice, options.platform)
    await documents.tree.settled?.()
    return loaded
  }

  /**
   * Reads one manifest, which may be an artifact's; undefined for an image of a docker-archive without manifests.
   *
   * @throws OcimountError as {@link chooseImage} and {@link readManifest}
   */
  async readManifest(options: ChoiceOptions = {}): Promise<ManifestDocument | undefined> {
    const { documents, roots } = this.#source
    const { descriptor } = await chooseImage(documents, roots, this.#withSelector(options))
    await documents.tree.settled?.()
    return descriptor === undefined ? undefined : readManifest(documents, descriptor)
  }

  /**
   * Gives one image with all its layers. Closing it closes the source.
   *
   * @throws OcimountError as {@link readDocuments} and {@link loadImage}
   */
  async openImage(
    options: { ref?: string | undefined; platform?: Platform | undefined } = {},
  ): Promise<Image> {
    const loaded = await this.readDocuments(options)
    const close = (): Promise<void> => {
      this.close()
      return Promise.resolve()
    }
    const { documents, kind } = this.#source
    const { ref } = this.#withSelector(options)
    const image = await loadImage(documents, loaded, { kind, ref, close })
    // What a registry has to say is about this image; an index.json may be about others.
    return kind === 'registry'
      ? { ...image, warnings: [...this.#source.warnings, ...image.warnings] }
      : image
  }

  /** Finds where the stored bytes of a blob are; they are not looked at. */
  async findBlob(digest: Digest): Promise<FileRegion | undefined> {
    return this.#source.documents.locate(digest)
  }

  close(): void {
    this.#source.documents.tree.close()
  }

  #withSelector({ ref, platform }: ChoiceOptions): ChoiceOptions {
    return { ref: ref ?? this.selector, platform }
  }
}
