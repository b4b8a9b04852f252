// What a user waits for before the first byte: mounts with an empty cache and with a full one, beside umoci's extraction
// and the two floors, a Node.js program that starts itself once and the bare inflate of the gzip layers.

import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { dropCaches, run } from './measure.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))

export function measureMounts({ images, ocimount, samples, runs }) {
  const { inflate } = createRequire(import.meta.url)(images.inflate)
  const caches = {
    plain: ocimount.filledCache(images.plain),
    gzip: ocimount.filledCache(images.gzip),
  }
  const measureMount = (name, image, cache) => {
    const { wall, seconds } = ocimount.mount(image, cache)
    ocimount.umount()
    samples.add(`mount.${name}.wall`, wall)
    samples.add(`mount.${name}.inside`, seconds)
  }
  for (let turn = 0; turn < runs; turn++) {
    samples.add('mount.floor.wall', run(process.execPath, [join(here, 'floor.mjs')]).seconds)

    dropCaches()
    const bundle = join(ocimount.work, 'bundle')
    const unpack = run('umoci', ['unpack', '--image', `${images.layout}:app`, bundle])
    samples.add('mount.umoci.wall', unpack.seconds)
    rmSync(bundle, { recursive: true })

    for (const form of ['plain', 'gzip']) {
      for (const state of ['cold', 'warm']) {
        if (state === 'cold') dropCaches()
        else warm(form === 'gzip' ? images.layout : images.plain)
        if (form === 'gzip' && state === 'warm') {
          const begin = performance.now()
          images.gzipLayers.forEach((layer) => inflate(layer))
          samples.add('mount.inflate.wall', (performance.now() - begin) / 1000)
        }
        const cache = ocimount.freshCache()
        measureMount(`${form}-first-${state}`, images[form], cache)
        rmSync(cache, { recursive: true, force: true })
      }
      measureMount(`${form}-second`, images[form], caches[form])
    }

    const indexed = run(process.execPath, [join(here, 'index-tar.mjs'), images.bigLayer])
    const { elapsed, rss } = JSON.parse(indexed.stdout)
    samples.add('mount.big-index.wall', indexed.seconds)
    samples.add('mount.big-index.inside', elapsed)
    samples.add('mount.big-index.rss', rss)
  }
}

/** Reads files, so that they are in the page cache. */
function warm(path) {
  run('sh', ['-c', 'find "$1" -type f -exec cat {} + >/dev/null', 'sh', path])
}
