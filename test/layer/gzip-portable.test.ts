// Gzip layers of every flavour without the addon: unpacked whole, every class of range is what `gzip -dc` gives of the same blob.

import { existsSync } from 'node:fs'
import t from 'tap'
import { PIECE_SIZE } from '../../src/cache/piece-map.js'
import { nativeUnavailableReason } from '../../src/native.js'
import { seededRandom } from '../helpers/random.js'
import {
  FLAVOURS,
  make,
  rangesOf,
  unpackedByGzip,
  whyMissing,
  wrongRanges,
} from './gzip-flavours.js'
import { contentOf, indexedLayer, openKnown, readAt } from './lazy-layer.js'

// Before the addon is asked for the first time.
process.env['OCIMOUNT_NATIVE'] = '0'

t.test('there is no addon here', async (t) => {
  t.equal(nativeUnavailableReason(), 'switched off by OCIMOUNT_NATIVE')
})

for (const [name, flavour] of Object.entries(FLAVOURS)) {
  const skip = whyMissing(flavour)
  t.test(`unpacked whole, any range is what gzip gives: ${name}`, { skip }, async (t) => {
    const random = seededRandom(t)
    const stored = make(t, flavour)
    const want = unpackedByGzip(t, stored)
    const { cache, blob } = await indexedLayer(t, stored, { around: 333 })
    t.notOk(existsSync(cache.blobIndexPath(blob.digest!)), 'it has no checkpoints')
    const pieces = Array.from({ length: Math.floor(want.length / PIECE_SIZE) }, (_, n) => n + 1)
    const boundaries = pieces.map((piece) => piece * PIECE_SIZE)
    const device = await openKnown(blob, cache)
    t.strictSame(await wrongRanges(device, want, rangesOf(want.length, boundaries, random)), [])
    await t.rejects(readAt(device, want.length, 1), 'past the end')
    t.ok((await contentOf(device)).equals(want))
    t.strictSame((await cache.verify({ keep: true })).bad, [])
  })
}
