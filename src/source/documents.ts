// Reads the documents of an image out of a tree: size first, then digest, then the bytes are handed out.

import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import type { Descriptor } from '../image/descriptor.js'
import { verifyDescriptor, verifySize } from '../image/descriptor.js'
import type { Digest } from '../image/digest.js'
import { checkDocumentSize } from '../image/limits.js'
import type { FileRegion } from '../layer/layer-blob.js'
import type { FileTree } from './file-tree.js'
import { MAX_TOTAL_DOCUMENT_BYTES } from './limits.js'

/** Gives the names under which a tree may keep the blob of a digest, the likeliest first. */
export type BlobNames = (digest: Digest) => readonly string[]

/** The documents and blobs of one source. */
export class Documents {
  readonly tree: FileTree
  readonly #blobNames: BlobNames
  readonly #verified = new Map<Digest, Buffer>()
  #budget = MAX_TOTAL_DOCUMENT_BYTES

  constructor(tree: FileTree, blobNames: BlobNames) {
    this.tree = tree
    this.#blobNames = blobNames
  }

  /** Digests of the documents that were read and verified. */
  get digests(): readonly Digest[] {
    return [...this.#verified.keys()]
  }

  /**
   * Finds where the bytes of a blob are; they are not looked at.
   *
   * @throws OcimountError as {@link FileTree.find}
   */
  async locate(digest: Digest): Promise<FileRegion | undefined> {
    for (const name of this.#blobNames(digest)) {
      const region = await this.tree.find(name)
      if (region !== undefined) return region
    }
    return undefined
  }

  /**
   * Reads the document that a descriptor points to, or takes the one that it embeds.
   *
   * @param limit largest size that such a document may have
   * @throws OcimountError `SIZE_MISMATCH`, `DIGEST_MISMATCH`, `BLOB_MISSING`, `LIMIT_EXCEEDED`,
   *   `IMAGE_UNSUPPORTED` for a digest that cannot be computed; as {@link FileTree.find}
   */
  async read(descriptor: Descriptor, limit: number, kind: string): Promise<Buffer> {
    const { digest, size } = descriptor
    const what = `${kind} ${digest}`
    checkDocumentSize(size, limit, what)
    const known = this.#verified.get(digest)
    if (known?.length === size) return known
    const bytes = await this.#fetch(descriptor, what)
    verifyDescriptor(bytes, descriptor, what)
    this.#verified.set(digest, bytes)
    return bytes
  }

  /**
   * Reads a document that has a fixed name and no digest, such as `index.json`.
   *
   * @throws OcimountError `LIMIT_EXCEEDED`; as {@link FileTree.find}
   */
  async readNamed(name: string, limit: number): Promise<Buffer | undefined> {
    const region = await this.tree.find(name)
    if (region === undefined) return undefined
    checkDocumentSize(region.length, limit, escapeText(name))
    return this.#readRegion(region)
  }

  async #fetch(descriptor: Descriptor, what: string): Promise<Buffer> {
    const { digest, size, data } = descriptor
    if (data !== undefined) return Buffer.from(data)
    await this.tree.bring?.(descriptor)
    const region = await this.locate(digest)
    if (region === undefined) throw blobMissing(this.tree.path, what, digest)
    verifySize(region.length, size, what)
    return this.#readRegion(region)
  }

  async #readRegion(region: FileRegion): Promise<Buffer> {
    this.#budget -= region.length
    if (this.#budget < 0) {
      const why = `its documents are larger than ${MAX_TOTAL_DOCUMENT_BYTES} bytes together`
      const message = `Cannot read ${escapeText(this.tree.path)}: ${why}`
      throw new OcimountError('LIMIT_EXCEEDED', message)
    }
    return this.tree.read(region)
  }
}

/** Makes the error for a blob that a document names and the source lacks. */
export function blobMissing(path: string, what: string, digest: string, why = ''): OcimountError {
  const message = `Cannot read ${what}: it is missing in ${escapeText(path)}${why}`
  return new OcimountError('BLOB_MISSING', message, { details: { digest } })
}
