// The way in: from what the user typed to an open source, and to one image of it.

import { lstatSync } from 'node:fs'
import { isOcimountError, systemErrorCode } from '../errors.js'
import type { Platform } from '../image/platform.js'
import type { ParsedReference } from '../reference/reference.js'
import { parseImageReference } from '../reference/reference.js'
import type { Candidate } from './candidate.js'
import { ImageSource } from './image-source.js'
import type { Image } from './image.js'
import { fileError } from './local-file.js'
import { openStdin, openTree } from './open-tree.js'
import type { OpenTreeOptions } from './open-tree.js'
import type { RegistrySourceOptions } from './registry-source.js'

export type OpenSourceOptions = OpenTreeOptions & RegistrySourceOptions

export interface OpenImageOptions extends OpenTreeOptions, RegistrySourceOptions {
  /** Picks one image of several: a name, an image id or the beginning of one, `@N`, `@sha256:…`. */
  readonly ref?: string | undefined
  /** Undefined: this machine's, and an image that is the only one need not be for it. */
  readonly platform?: Platform | undefined
}

/**
 * Opens one image. Only documents are read and verified; of its layers it is merely seen that they are there,
 * as large as they should be.
 *
 * @throws OcimountError `REFERENCE_INVALID`, `FILE_NOT_FOUND`, `REFERENCE_NOT_FOUND`, `PLATFORM_NOT_FOUND`,
 *   `IMAGE_AMBIGUOUS`, `IMAGE_INVALID`, `IMAGE_UNSUPPORTED`, `BLOB_MISSING`, `DIGEST_MISMATCH`,
 *   `SIZE_MISMATCH`, `TAR_CORRUPT`, `LIMIT_EXCEEDED`, `REGISTRY_UNAVAILABLE`, and those of {@link openTree}
 */
export async function openImage(
  reference: string | ParsedReference,
  options: OpenImageOptions,
): Promise<Image> {
  const source = await openImageSource(reference, options)
  try {
    return await source.openImage(options)
  } catch (error) {
    source.close()
    throw error
  }
}

/**
 * Lists what a source holds; for a person or program that is to choose.
 *
 * @throws OcimountError as {@link openImageSource}
 */
export async function listCandidates(
  reference: string | ParsedReference,
  options: OpenSourceOptions,
): Promise<readonly Candidate[]> {
  const source = await openImageSource(reference, options)
  try {
    return await source.listCandidates()
  } finally {
    source.close()
  }
}

/**
 * Opens the archive, directory or registry's image that a reference names.
 *
 * @throws OcimountError `REFERENCE_INVALID`, `FILE_NOT_FOUND`; as {@link openTree}, {@link openRegistry} and
 *   {@link ImageSource.open}
 */
export async function openImageSource(
  reference: string | ParsedReference,
  options: OpenSourceOptions,
): Promise<ImageSource> {
  const parsed = typeof reference === 'string' ? resolveReference(reference) : reference
  switch (parsed.kind) {
    case 'stdin':
      return ImageSource.open(await openStdin(options))
    case 'path':
      return ImageSource.open(await openTree(parsed.path, options))
    case 'transport': {
      const { transport, selector } = parsed
      return ImageSource.open(await openTree(parsed.path, options), { transport, selector })
    }
    case 'registry': {
      // An image that lies here has no need of any of that.
      const { openRegistry } = await import('./registry-source.js')
      return openRegistry(parsed, options)
    }
  }
}

/** An existing path comes before every other meaning of its name, `-` aside. */
function resolveReference(text: string): ParsedReference {
  let parsed: ParsedReference
  try {
    parsed = parseImageReference(text)
  } catch (error) {
    if (!isOcimountError(error) || !isPath(text)) throw error
    return { kind: 'path', path: text }
  }
  if (parsed.kind === 'stdin' || parsed.kind === 'path' || !isPath(text)) return parsed
  return { kind: 'path', path: text }
}

function isPath(text: string): boolean {
  if (text === '' || text.includes('\0')) return false
  try {
    lstatSync(text)
    return true
  } catch (error) {
    if (NO_PATH.has(systemErrorCode(error) ?? '')) return false
    throw fileError(text, error)
  }
}

const NO_PATH: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP'])
