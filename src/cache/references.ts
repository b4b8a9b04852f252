// What names meant when they were last asked for: index.json of the layout, so that other tools find the images too.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isOcimountError, messageOf } from '../errors.js'
import { parseDigest, type Digest } from '../image/digest.js'
import { parseImageIndex } from '../image/image-index.js'
import { LAYOUT_INDEX_FILE } from '../image/layout.js'
import { MAX_MANIFEST_SIZE } from '../image/limits.js'
import { OCI_INDEX } from '../image/media-types.js'
import { log } from '../logger.js'
import type { Cache } from './cache.js'
import { replaceFile, writeNewFile } from './durable.js'
import { isMissing, storageError } from './storage-error.js'

/** What a name leads to: a manifest or an index. */
export interface StoredReference {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
}

/** Gives what a name, in full, meant; undefined when nobody asked for it yet. Whether its blobs are there is not looked at. */
export async function findReference(
  cache: Cache,
  name: string,
): Promise<StoredReference | undefined> {
  return (await readReferences(cache)).get(name)
}

/**
 * Notes what a name means now. Names whose manifests are no longer there are dropped on the way.
 *
 * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`, `CACHE_LOCKED`
 */
export async function storeReference(
  cache: Cache,
  name: string,
  reference: StoredReference,
): Promise<void> {
  if ((await findReference(cache, name))?.digest === reference.digest) return
  await cache.withLock('index', async () => {
    const references = await readReferences(cache)
    references.set(name, reference)
    const manifests = []
    for (const [known, { mediaType, digest, size }] of references) {
      if (known !== name && !(await cache.hasBlob(digest))) continue
      manifests.push({ mediaType, digest, size, annotations: { [REF_NAME]: known } })
    }
    const text = JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests })
    const staging = await cache.stage()
    try {
      const temporary = join(staging.path, LAYOUT_INDEX_FILE)
      await writeNewFile(temporary, [Buffer.from(text)])
      await replaceFile(temporary, join(cache.root, LAYOUT_INDEX_FILE))
    } finally {
      await staging.remove()
    }
  })
}

async function readReferences(cache: Cache): Promise<Map<string, StoredReference>> {
  const path = join(cache.root, LAYOUT_INDEX_FILE)
  const references = new Map<string, StoredReference>()
  try {
    const bytes = await readFile(path)
    if (bytes.length > MAX_MANIFEST_SIZE) return references
    for (const { mediaType, digest, size, annotations } of parseImageIndex(bytes).manifests) {
      const name = annotations.get(REF_NAME)
      if (name !== undefined) {
        references.set(name, { mediaType, digest: parseDigest(digest), size })
      }
    }
  } catch (error) {
    if (isOcimountError(error)) {
      log.warn({ path, why: messageOf(error) }, 'ignored an index that cannot be used')
    } else if (!isMissing(error)) throw storageError(error, 'read', path)
  }
  return references
}

const REF_NAME = 'org.opencontainers.image.ref.name'
