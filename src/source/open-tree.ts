// From what the user named to a set of files: a directory, an archive in place, a compressed one out of the
// cache, or standard input spooled there.

import { realpathSync, statSync } from 'node:fs'
import type { Stats } from 'node:fs'
import { escapeText } from '../byte-string.js'
import { DETECTION_LENGTH } from '../compression/detect.js'
import { ArchiveTree } from './archive-tree.js'
import { DirectoryTree } from './directory-tree.js'
import { identifyFile } from './file-kind.js'
import type { FileTree } from './file-tree.js'
import { LocalFile, fileError, refuseSpecial } from './local-file.js'
import { decodeArchive, spoolArchive } from './stored-archive.js'
import type { StoreOptions } from './stored-archive.js'

export interface OpenTreeOptions extends StoreOptions {
  /** What `-` reads; the process's standard input unless given. */
  readonly stdin?: AsyncIterable<Uint8Array> | undefined
}

/**
 * Opens a directory or an archive.
 *
 * @throws OcimountError `FILE_NOT_FOUND`, `IMAGE_INVALID`, `IMAGE_UNSUPPORTED`, `TAR_CORRUPT`,
 *   `LIMIT_EXCEEDED`, `STORAGE_FAILED`; for a compressed archive as {@link decodeArchive}
 */
export async function openTree(path: string, options: OpenTreeOptions): Promise<FileTree> {
  let real: string
  let stats: Stats
  try {
    // The mount outlives the caller's directory and descriptors, so that `/dev/fd/3` has to become a true path.
    stats = statSync(path)
    refuseSpecial(path, stats, { isDirectoryFine: true })
    real = realpathSync.native(path)
  } catch (error) {
    throw fileError(path, error)
  }
  if (stats.isDirectory()) return DirectoryTree.open(path)
  return ArchiveTree.open(path, await openPlain(path, real, options), options.signal)
}

/**
 * Takes standard input into the cache and opens it.
 *
 * @throws OcimountError as {@link spoolArchive} and {@link openTree}
 */
export async function openStdin(options: OpenTreeOptions): Promise<FileTree> {
  const what = 'standard input'
  const file = await spoolArchive(options.stdin ?? process.stdin, what, options)
  return ArchiveTree.open(what, file, options.signal)
}

/** Opens an archive, or the plain form of one that is compressed. */
async function openPlain(path: string, real: string, options: StoreOptions): Promise<LocalFile> {
  const file = LocalFile.open(real)
  try {
    const head = await file.read(0, DETECTION_LENGTH)
    const compression = identifyFile(head, escapeText(path))
    if (compression === 'none') return file
    const plain = await decodeArchive(file, compression, options)
    file.close()
    return plain
  } catch (error) {
    file.close()
    throw error
  }
}
