// A registry behind a slow link, for part-registry.mjs: node registry-server.mjs ADDRESS-FILE LAYOUT…
//
// It is the one of the tests, told to send 100 Mbit/s to all that ask together, 20 ms after they did. Each layout is a
// repository of the name of its directory, with the tag `app`. The address goes into a file, since whoever starts this has no
// event loop to read it by.

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
writeFileSync(`${addressFile}.new`, registry.host)
renameSync(`${addressFile}.new`, addressFile)
