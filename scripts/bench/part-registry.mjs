// What a user waits for where the image lies in a registry behind a link of 100 Mbit/s and 20 ms: the mount with an empty
// cache, beside the bare download of the same blobs in the same run; and the forms that are read in parts, lazy-forms.mjs.

import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { measureLazyForm } from './lazy-forms.mjs'
import { run, sleep } from './measure.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))

/** The forms of the image that are pulled whole, and those that are not, with what unpacks the same tree by other means. */
const WHOLE = ['gzip', 'zstd']
const LAZY = { estargz: 'estargz', chunked: 'gzip' }

export function measureRegistry({ images, ocimount, samples, runs }) {
  const { layouts } = images
  const server = startServer(join(ocimount.work, 'registry'), Object.values(layouts))
  try {
    for (let turn = 0; turn < runs; turn++) {
      for (const form of WHOLE)
        measureWholeForm({ form, layout: layouts[form], server, ocimount, samples })
      for (const [form, other] of Object.entries(LAZY)) {
        const [image, unpacked] = [form, other].map((name) => imageIn(server, layouts[name]))
        measureLazyForm({ form, image, unpacked, server, ocimount, samples })
      }
    }
  } finally {
    server.process.kill()
  }
}

function measureWholeForm({ form, layout, server, ocimount, samples }) {
  const files = join(ocimount.work, 'download')
  mkdirSync(files)
  const blobs = `http://${server.host}/v2/${basename(layout)}/blobs/`
  const urls = blobsOf(layout).map((digest) => blobs + digest)
  const bare = run(process.execPath, [join(here, 'download.mjs'), files, ...urls])
  samples.add(`registry.${form}.download`, bare.seconds)
  rmSync(files, { recursive: true })

  const cache = ocimount.freshCache()
  const { wall } = ocimount.mount(imageIn(server, layout), cache)
  samples.add(`registry.${form}.mount`, wall)
  ocimount.umount()
  rmSync(cache, { recursive: true })
}

function imageIn({ host }, layout) {
  return `${host}/${basename(layout)}:app`
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
  return { process: server, ...JSON.parse(readFileSync(addressFile)) }
}

/** Config and layers. */
function blobsOf(layout) {
  const read = (...path) => JSON.parse(readFileSync(join(layout, ...path)))
  const [{ digest }] = read('index.json').manifests
  const { config, layers } = read('blobs', digest.replace(':', '/'))
  return [config, ...layers].map((blob) => blob.digest)
}
