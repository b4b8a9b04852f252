// What a user waits for where the image lies in a registry behind a link of 100 Mbit/s and 20 ms: the mount with an empty
// cache, beside the bare download of the same blobs in the same run.

import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run, sleep } from './measure.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))

export function measureRegistry({ images, ocimount, samples, runs }) {
  const layouts = { gzip: images.layout, zstd: images.zstdLayout }
  const server = startServer(join(ocimount.work, 'registry'), Object.values(layouts))
  try {
    for (let turn = 0; turn < runs; turn++) {
      for (const [form, layout] of Object.entries(layouts)) {
        const repository = layout.split('/').at(-1)
        const files = join(ocimount.work, 'download')
        mkdirSync(files)
        const urls = blobsOf(layout).map(
          (digest) => `http://${server.host}/v2/${repository}/blobs/${digest}`,
        )
        const bare = run(process.execPath, [join(here, 'download.mjs'), files, ...urls])
        samples.add(`registry.${form}.download`, bare.seconds)
        rmSync(files, { recursive: true })

        const cache = ocimount.freshCache()
        const { wall } = ocimount.mount(`${server.host}/${repository}:app`, cache)
        samples.add(`registry.${form}.mount`, wall)
        ocimount.umount()
        rmSync(cache, { recursive: true })
      }
    }
  } finally {
    server.process.kill()
  }
}

/** Starts it in a process of its own, since this one waits for whatever it measures. */
function startServer(addressFile, layouts) {
  const script = join(here, 'registry-server.mjs')
  const server = spawn(process.execPath, [script, addressFile, ...layouts], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  process.on('exit', () => server.kill())
  for (let tries = 0; !existsSync(addressFile); tries++) {
    if (tries > 600) throw new Error('the registry does not start; npm run build:test makes it')
    sleep(100)
  }
  return { process: server, host: readFileSync(addressFile, 'utf8') }
}

/** Config and layers. */
function blobsOf(layout) {
  const read = (...path) => JSON.parse(readFileSync(join(layout, ...path)))
  const [{ digest }] = read('index.json').manifests
  const { config, layers } = read('blobs', digest.replace(':', '/'))
  return [config, ...layers].map((blob) => blob.digest)
}
