// Indexes one plain layer through the library, as a first mount does, and prints seconds and peak memory.
//   node index-tar.mjs LAYER.tar

import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Cache, indexLayer, fileIdentity } from '../../dist/index.js'

const path = process.argv[2]
const dir = mkdtempSync(join(tmpdir(), 'ocimount-bench-'))
const begin = performance.now()
const cache = await Cache.open({ dir: join(dir, 'cache') })
const stats = statSync(path, { bigint: true })
const region = { path, offset: 0, length: Number(stats.size), identity: fileIdentity(stats) }
const diffId = `sha256:${'0'.repeat(64)}`
const { toc } = await indexLayer(
  { region, digest: undefined, diffId, mediaType: 'application/vnd.oci.image.layer.v1.tar' },
  { cache },
)
const elapsed = (performance.now() - begin) / 1000
console.log(
  JSON.stringify({
    entries: toc.entries.length,
    elapsed,
    rss: process.resourceUsage().maxRSS * 1024,
  }),
)
rmSync(dir, { recursive: true, force: true })
