// The floor of a mount from a registry: a Node.js program that gets the blobs of an image, all at once, into files.
//
//   node download.mjs DIRECTORY URL…

import { createWriteStream } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

const [directory, ...urls] = process.argv.slice(2)
await Promise.all(
  urls.map(async (url, number) => {
    const response = await new Promise((resolve, reject) => get(url, resolve).on('error', reject))
    if (response.statusCode !== 200) throw new Error(`${url}: status ${response.statusCode}`)
    await pipeline(response, createWriteStream(join(directory, String(number))))
  }),
)
