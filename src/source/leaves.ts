// Follows indexes down to manifests, within budgets: what an index leads to is the image's to say, how much
// of it is read is ours.

import { OcimountError, isOcimountError } from '../errors.js'
import type { Descriptor } from '../image/descriptor.js'
import { parseImageIndex } from '../image/image-index.js'
import { MAX_MANIFEST_SIZE } from '../image/limits.js'
import { classifyMediaType } from '../image/media-types.js'
import type { Documents } from './documents.js'
import { MAX_INDEX_DEPTH, MAX_INDEX_ENTRIES } from './limits.js'

export interface Leaves {
  /** Whatever is no index, in the order of the indexes, depth first; not only images. */
  readonly leaves: readonly Descriptor[]
  /** Nested indexes that the source lacks; other platforms' may well be absent (checklist D-025). */
  readonly missing: readonly Descriptor[]
  /** Deviations of the indexes from the specification. */
  readonly warnings: readonly string[]
}

/**
 * Finds all manifests below a descriptor, itself included. Nothing but indexes is read.
 *
 * @throws OcimountError `LIMIT_EXCEEDED` for indexes that are too deep or too wide; as {@link Documents.read}
 *   for the outermost index and for broken ones
 */
export async function findLeaves(documents: Documents, root: Descriptor): Promise<Leaves> {
  const leaves: Descriptor[] = []
  const missing: Descriptor[] = []
  const warnings: string[] = []
  // A stack, so that depth costs no recursion; children are pushed in reverse to come out in order.
  const open = [{ descriptor: root, depth: 0 }]
  let entries = 0
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { descriptor, depth } = next
    if (classifyMediaType(descriptor.mediaType) !== 'index') {
      leaves.push(descriptor)
      continue
    }
    if (depth >= MAX_INDEX_DEPTH) throw exceeded(root, `it nests deeper than ${MAX_INDEX_DEPTH}`)
    try {
      const bytes = await documents.read(descriptor, MAX_MANIFEST_SIZE, 'index')
      const { manifests, ...index } = parseImageIndex(bytes, descriptor.mediaType)
      warnings.push(...index.warnings)
      entries += manifests.length
      if (entries > MAX_INDEX_ENTRIES) {
        throw exceeded(root, `it lists more than ${MAX_INDEX_ENTRIES} manifests`)
      }
      for (const child of manifests.toReversed()) open.push({ descriptor: child, depth: depth + 1 })
    } catch (error) {
      if (depth === 0 || !isOcimountError(error, 'BLOB_MISSING')) throw error
      missing.push(descriptor)
    }
  }
  return { leaves, missing, warnings }
}

function exceeded(root: Descriptor, why: string): OcimountError {
  return new OcimountError('LIMIT_EXCEEDED', `Cannot read index ${root.digest}: ${why}`)
}
