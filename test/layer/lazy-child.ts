// A process that reads a layer through the cache, for tests with several of them: node lazy-child.js CACHE-DIR BLOB MODE.
// MODE `all` reads everything, closes and says what the cache then has. MODE is else a seed: pieces are read at random, with a
// line for each, until a line on standard input makes it close.

import { once } from 'node:events'
import { Cache } from '../../src/cache/cache.js'
import { PIECE_SIZE } from '../../src/cache/piece-map.js'
import { indexLayer } from '../../src/layer/index-layer.js'
import type { LayerBlob } from '../../src/layer/layer-blob.js'
import { lookForData } from '../../src/layer/layer-store.js'
import { Random } from '../helpers/random.js'

const [, , dir, text = '', mode = ''] = process.argv
const cache = await Cache.open({ dir })
const blob = JSON.parse(text) as LayerBlob
const layer = await indexLayer(blob, { cache })
const device = await layer.openDevice()
if (mode === 'all') {
  await device.read(Buffer.alloc(device.size), 0)
  await device.close()
  process.stdout.write(`${await lookForData(blob.diffId, cache)}\n`)
} else {
  const stop = new AbortController()
  void once(process.stdin, 'data').then(() => {
    stop.abort()
  })
  const random = new Random(Number(mode))
  const target = Buffer.alloc(1000)
  while (!stop.signal.aborted) {
    const offset = random.below(Math.ceil(device.size / PIECE_SIZE)) * PIECE_SIZE
    await device.read(target.subarray(0, device.size - offset), offset)
    process.stdout.write(`${offset / PIECE_SIZE}\n`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  await device.close()
  process.stdin.destroy()
}
