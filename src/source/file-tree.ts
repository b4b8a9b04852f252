// A named set of files, the way an image is stored: a directory of the host or the members of an archive.

import type { FileRegion } from '../layer/layer-blob.js'

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
  close(): void
}
