import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { Cache } from '../../src/cache/cache.js'
import { findIndexedLayer, indexLayer } from '../../src/layer/index-layer.js'
import { verifyLayer } from '../../src/layer/verify-layer.js'
import { buildTar, file } from '../helpers/build-tar.js'
import { regionOf, writeBlob } from './blobs.js'

t.test('verifyLayer() hashes the region alone and can be stopped', async (t) => {
  const dir = t.testdir()
  const cache = await Cache.open({ dir: join(dir, 'cache') })
  const tar = buildTar([file('big', Buffer.alloc(100_000_000, 'x'))])
  const blob = writeBlob(join(dir, 'blob'), tar, { around: 999 })
  const { toc } = await indexLayer(blob, { cache })
  const controller = new AbortController()
  const onProgress = (): void => {
    controller.abort()
  }
  await t.rejects(verifyLayer(blob, { cache, toc, onProgress, signal: controller.signal }), {
    code: 'INTERRUPTED',
  })
  t.equal(await findIndexedLayer(blob, cache), undefined)
  await verifyLayer(blob, { cache, toc })
  t.equal((await findIndexedLayer(blob, cache))?.verification, 'verified')
  t.strictSame((await cache.getArchiveRecord(blob.region.identity))?.regions, [
    { form: 'plain', offset: 999, length: tar.length, digest: blob.digest, diffId: blob.diffId },
  ])
  writeFileSync(blob.region.path, 'changed')
  await t.rejects(verifyLayer(blob, { cache, toc }), { code: 'SOURCE_CHANGED' })
  const now = { ...blob, region: regionOf(blob.region.path) }
  await t.rejects(verifyLayer(now, { cache, toc }), { code: 'DIGEST_MISMATCH' })
})
