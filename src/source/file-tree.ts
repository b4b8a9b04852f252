// A named set of files, the way an image is stored: a directory of the host or the members of an archive.

import type { Descriptor } from '../image/descriptor.js'
import type { Digest, DiffId } from '../image/digest.js'
import type { FileRegion, LayerBlob } from '../layer/layer-blob.js'
import type { RegistryFailure } from '../registry/client.js'
import type { ReferrerList, ReferrerOptions } from '../registry/referrers.js'

/**
 * Finds files by name and reads them.
 *
 * Names are relative, with `/` between parts. Links are followed inside the tree and nowhere else.
 */
export interface FileTree {
  /** What the user named. */
  readonly path: string
  readonly isArchive: boolean
  /**
   * Finds a regular file.
   *
   * @throws OcimountError `IMAGE_INVALID` for a name that leads outside, in circles, to two files or to
   *   something else than a file; `IMAGE_UNSUPPORTED` for a sparse member of an archive
   */
  find(name: string): Promise<FileRegion | undefined>
  /**
   * Reads all of a stretch that {@link FileTree.find} gave.
   *
   * @throws OcimountError `SOURCE_CHANGED` when the file is another one meanwhile or shorter, `STORAGE_FAILED`
   */
  read(region: FileRegion): Promise<Buffer>
  /**
   * Gives the sorted names directly below a directory, the root being `''`, directories with a slash at the end;
   * nothing where there is no such directory. A name that is no text is given byte by byte.
   */
  list(directory: string): Promise<readonly string[]>
  /**
   * Brings in a blob that lies elsewhere, so that it can be found; only in trees that have such blobs.
   *
   * @throws OcimountError `REGISTRY_UNAVAILABLE`, `REGISTRY_DENIED`, `BLOB_MISSING`, `DIGEST_MISMATCH`, `SIZE_MISMATCH`
   */
  bring?(descriptor: Descriptor): Promise<void>
  /**
   * Waits until what was brought in without waiting is where the next process finds it; in the same trees.
   *
   * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`, `CACHE_LOCKED`, `INTERRUPTED`
   */
  settled?(): Promise<void>
  /** Gives a layer that lies elsewhere, to be fetched when it is wanted; in the same trees. */
  layer?(descriptor: Descriptor, diffId: DiffId): LayerBlob
  /**
   * Lists what refers to a manifest of this image; in the same trees.
   *
   * @throws OcimountError `REGISTRY_UNAVAILABLE`, `REGISTRY_DENIED`, `REFERENCE_NOT_FOUND` where nobody may be asked, `IMAGE_INVALID`
   */
  referrers?(subject: Digest, options: ReferrerOptions): Promise<ReferrerList>
  /** Tells what was had from elsewhere so far; in the same trees. */
  activity?(): RegistryActivity
  close(): void
}

/** What a registry had to do with an image. */
export interface RegistryActivity {
  readonly layers: readonly {
    readonly digest: Digest
    /** Of the blob. */
    readonly size: number
    /** Bytes that came from the registry to this process, also those that had to come twice. */
    readonly fetched: number
  }[]
  /** The last failure, also one that was overcome. */
  readonly lastError?: RegistryFailure | undefined
}
