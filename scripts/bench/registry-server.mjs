// A registry behind a slow link, for part-registry.mjs and lazy-forms.mjs: node registry-server.mjs ADDRESS-FILE LAYOUT…
//
// It is the one of the tests, told to send 100 Mbit/s to all that ask together, 20 ms after they did. Each layout is a
// repository of the name of its directory, with the tag `app`. The addresses go into a file as JSON, since whoever starts this has
// no event loop to read them by: of the registry, and of who tells without delay what it has sent so far.

import { createServer } from 'node:http'
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { FaultRegistry } from '../../.build/test/test/helpers/fault-registry.js'

const [addressFile, ...layouts] = process.argv.slice(2)
const registry = await FaultRegistry.start(
  { teardown: () => undefined },
  { bytesPerSecond: 100e6 / 8, latencyMs: 20 },
)
for (const layout of layouts) {
  const blobs = join(layout, 'blobs/sha256')
  for (const name of readdirSync(blobs)) registry.pushBlob(readFileSync(join(blobs, name)))
  const { manifests } = JSON.parse(readFileSync(join(layout, 'index.json')))
  const [{ digest, mediaType }] = manifests
  const manifest = readFileSync(join(layout, 'blobs', digest.replace(':', '/')))
  registry.pushManifest(basename(layout), manifest, mediaType, 'app')
}
const counts = createServer((_, response) => {
  response.end(JSON.stringify({ bytes: registry.bytesSent, requests: registry.requests.length }))
})
await new Promise((resolve) => counts.listen(0, '127.0.0.1', resolve))
const addresses = { host: registry.host, counts: `127.0.0.1:${counts.address().port}` }
writeFileSync(`${addressFile}.new`, JSON.stringify(addresses))
renameSync(`${addressFile}.new`, addressFile)
