// Checks everything about an image, or about all images of a source: documents, sizes, digests, layers. Nothing stops
// at the first fault, and nothing is taken from a cache.

import { hostPlatform } from '../image/platform.js'
import type { ParsedReference } from '../reference/reference.js'
import type { Finding } from './finding.js'
import { Findings } from './finding.js'
import { openImageSource } from './open-image.js'
import type { OpenImageOptions } from './open-image.js'
import { Survey } from './survey.js'
import { validateBlob, validateLayer } from './validate-layer.js'

export type { Finding } from './finding.js'

export interface ValidateOptions extends Omit<OpenImageOptions, 'onProgress'> {
  /** Stored bytes of layers and other blobs that were read, and those to be read. */
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined
}

/**
 * Reports every fault of what a reference names: of one image with `ref`, of one platform with `platform`, else of
 * everything that is there, blobs that no image uses included.
 *
 * @throws OcimountError what is no fault of the image: `FILE_NOT_FOUND`, `REFERENCE_NOT_FOUND`, `REFERENCE_INVALID`,
 *   `SOURCE_CHANGED`, `STORAGE_FAILED`, `STORAGE_FULL`, `INTERRUPTED`, `REGISTRY_UNAVAILABLE`
 */
export async function validateImage(
  reference: string | ParsedReference,
  options: ValidateOptions,
): Promise<readonly Finding[]> {
  const { onProgress, signal, ref, platform, ...others } = options
  const findings = new Findings()
  const openOptions = { ...others, signal }
  const source = await findings.attempt('source', () => openImageSource(reference, openOptions))
  if (source === undefined) return findings.all
  try {
    const survey = new Survey(source.opened, findings)
    // All platforms of an image in a registry would be a lot to fetch for a look at one.
    const wanted = platform ?? (source.kind === 'registry' ? hostPlatform() : undefined)
    await survey.visit(ref ?? source.selector, wanted)
    const { layers, blobs } = survey
    let done = 0
    const total = [...layers, ...blobs].reduce((sum, { region }) => sum + region.length, 0)
    const onRead = (bytes: number): void => {
      done += bytes
      onProgress?.({ done, total })
    }
    for (const { where, ...layer } of layers) {
      const local = await findings.attempt(
        where,
        async () => (await layer.fetch?.({ signal })) ?? layer,
      )
      if (local !== undefined) await validateLayer(findings, where, local, { signal, onRead })
    }
    for (const { where, ...blob } of blobs) {
      await validateBlob(findings, where, blob, { signal, onRead })
    }
  } finally {
    source.close()
  }
  return findings.all
}
