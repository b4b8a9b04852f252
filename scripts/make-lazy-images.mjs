// Makes the Debian image of scripts/make-debian-image in the two forms that can be read in parts, by tools that are none of ours.
// Used by the tests and the benchmarks; takes some minutes the first time and nothing afterwards.
//
//   node scripts/make-lazy-images.mjs DIRECTORY      that of make-debian-image
//
//   DIRECTORY/estargz    OCI layout, tag app, layers by the library of stargz-snapshotter (needs Go 1.25 or later)
//   DIRECTORY/chunked    the same with layers by skopeo, zstd:chunked
//
// The library adds a file to each layer that says where prefetching ends, and its table is a file of the layer too: the tree of
// `estargz` has these besides what the image has.

import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const TOC_DIGEST = 'containerd.io/snapshot/stargz/toc.digest'
const [directory] = process.argv.slice(2)
if (directory === undefined) throw new Error('usage: make-lazy-images.mjs DIRECTORY')

await make('chunked', (out) => {
  const copy = ['copy', '--quiet', '--dest-compress-format', 'zstd:chunked']
  run('skopeo', [...copy, `oci:${join(directory, 'layout')}:app`, `oci:${out}:app`])
})
await make('estargz', makeStargz)

/** Makes a form under a name of its own first, so that whoever looks finds a whole one. */
async function make(form, work) {
  const out = join(directory, form)
  if (existsSync(out)) return
  process.stderr.write(`make-lazy-images: ${form}\n`)
  const staging = mkdtempSync(join(directory, `.${form}-`))
  try {
    await work(join(staging, form))
    if (!existsSync(out)) renameSync(join(staging, form), out)
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

async function makeStargz(out) {
  if (spawnSync('go', ['version']).status !== 0) throw new Error('Go 1.25 or later is missing')
  const from = join(directory, 'layout')
  const read = ({ digest }) => JSON.parse(readFileSync(blobPath(from, digest)))
  const [entry] = JSON.parse(readFileSync(join(from, 'index.json'))).manifests
  const manifest = read(entry)
  const config = read(manifest.config)
  mkdirSync(join(out, 'blobs/sha256'), { recursive: true })
  const converter = join(out, 'estargz')
  run('go', ['build', '-o', converter, '.'], {
    cwd: fileURLToPath(new URL('estargz', import.meta.url)),
  })
  const layers = []
  for (const layer of manifest.layers)
    layers.push(await convertLayer(converter, layer, { from, out }))
  rmSync(converter)
  manifest.layers = layers.map(({ descriptor }) => descriptor)
  config.rootfs.diff_ids = layers.map(({ diffId }) => diffId)
  manifest.config = { ...manifest.config, ...putJson(out, config) }
  const top = { ...entry, ...putJson(out, manifest) }
  writeFileSync(join(out, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [top] }))
  writeFileSync(join(out, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
}

async function convertLayer(converter, { digest, mediaType }, { from, out }) {
  const made = join(out, 'layer')
  const said = JSON.parse(run(converter, [blobPath(from, digest), made]))
  const blob = { digest: await digestOf(made), size: statSync(made).size }
  renameSync(made, blobPath(out, blob.digest))
  const annotations = { [TOC_DIGEST]: said.tocDigest }
  return { diffId: said.diffId, descriptor: { mediaType, ...blob, annotations } }
}

function putJson(out, value) {
  const bytes = Buffer.from(JSON.stringify(value))
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  writeFileSync(blobPath(out, digest), bytes)
  return { digest, size: bytes.length }
}

async function digestOf(path) {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return `sha256:${hash.digest('hex')}`
}

function blobPath(layout, digest) {
  return join(layout, 'blobs', digest.replace(':', '/'))
}

function run(command, args, options = {}) {
  return execFileSync(command, args, { ...options, stdio: ['ignore', 'pipe', 'inherit'] })
}
