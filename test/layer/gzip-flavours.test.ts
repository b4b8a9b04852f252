// Random access to gzip layers of every flavour: every class of range must be what `gzip -dc` gives of the same blob.

import { readFileSync, statSync } from 'node:fs'
import t from 'tap'
import { unseal } from '../../src/cache/sealed-file.js'
import { decodeSpanTable, SPAN_RECORD_SIZE } from '../../src/layer/span-table.js'
import { addonSkipReason } from '../helpers/native-addon.js'
import { seededRandom } from '../helpers/random.js'
import {
  FLAVOURS,
  make,
  rangesOf,
  unpackedByGzip,
  whyMissing,
  wrongRanges,
} from './gzip-flavours.js'
import {
  ALL_PIECES,
  claimedPieces,
  contentOf,
  indexedLayer,
  openKnown,
  readAt,
} from './lazy-layer.js'

const skip = addonSkipReason()

for (const [name, flavour] of Object.entries(FLAVOURS)) {
  const reason = skip || whyMissing(flavour)
  t.test(`any range of the device is what gzip gives: ${name}`, { skip: reason }, async (t) => {
    const random = seededRandom(t)
    const stored = make(t, flavour)
    const want = unpackedByGzip(t, stored)
    const { cache, blob } = await indexedLayer(t, stored, { around: 333 })
    t.ok(statSync(cache.dataPath(blob.diffId)).blocks * 512 < 100_000, 'nothing was decompressed')
    t.strictSame(claimedPieces(cache, blob), [])
    const path = cache.blobIndexPath(blob.digest!)
    const { records } = decodeSpanTable(unseal(readFileSync(path), path))
    const starts = Array.from({ length: records.length / SPAN_RECORD_SIZE }, (_, n) =>
      Number(records.readBigUInt64LE(n * SPAN_RECORD_SIZE)),
    )
    t.ok(starts.length > 1, `${starts.length} spans`)
    const ranges = rangesOf(want.length, starts, random)
    for (const round of ['cold', 'from the cache']) {
      const device = await openKnown(blob, cache)
      t.strictSame(await wrongRanges(device, want, ranges), [], round)
      await t.rejects(readAt(device, want.length, 1), 'past the end')
      await t.rejects(readAt(device, want.length - 1, 2), 'across the end')
      t.strictSame(device.faults?.(), [])
      await device.close()
    }
    t.ok((await contentOf(await openKnown(blob, cache))).equals(want))
    t.strictSame(claimedPieces(cache, blob), ALL_PIECES, 'all of it is kept')
    t.strictSame((await cache.verify({ keep: true })).bad, [])
  })
}
