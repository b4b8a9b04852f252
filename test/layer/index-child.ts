// A process that indexes a layer and says so when it is in the middle of it; a test kills it then.

import { Cache } from '../../src/cache/cache.js'
import { indexLayer } from '../../src/layer/index-layer.js'
import type { LayerBlob } from '../../src/layer/layer-blob.js'

const [, , dir, blob = ''] = process.argv
const cache = await Cache.open({ dir })
await indexLayer(JSON.parse(blob) as LayerBlob, {
  cache,
  onProgress: () => process.stdout.write('working\n'),
})
