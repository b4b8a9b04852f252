// Real images: our union against what umoci extracted from them.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { TocBuilder } from '../../src/layer/toc-builder.js'
import { TarParser } from '../../src/tar/parser.js'
import type { BuiltLayer } from '../helpers/build-layer.js'
import { describeUnion, union, type Row, type Rows } from './describe-tree.js'
import { oracleRow, withTimesOf } from './oracle-rows.js'

const corpora = process.env['OCIMOUNT_CORPORA'] ?? '../shared/corpora'
const expected = join(corpora, 'expected')
const names = existsSync(expected) ? readdirSync(expected) : []

if (names.length === 0) {
  t.test(
    'applyLayers() gives the trees of real images',
    { skip: 'the corpora are not here' },
    async () => undefined,
  )
}

for (const name of names) {
  t.test(`applyLayers() gives the tree of ${name}`, async (t) => {
    const layers = layersOf(join(corpora, 'images', name))
    const want = oracleRows(readFileSync(join(expected, name, 'tree.jsonl'), 'utf8'))
    const newest = Object.values(want)
      .filter(({ type }) => type !== 'directory')
      .reduce(
        (time, { mtime }) => (BigInt(String(mtime)) > time ? BigInt(String(mtime)) : time),
        0n,
      )
    const found = await describeUnion(union(layers), layers)
    t.strictSame(withTimesOf(found, want, newest + 1n), want)
  })
}

interface Descriptor {
  readonly digest: string
  readonly mediaType: string
}

function layersOf(layout: string): BuiltLayer[] {
  const blob = ({ digest }: Descriptor): Buffer =>
    readFileSync(join(layout, 'blobs', digest.replace(':', '/')))
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
    manifests: [Descriptor]
  }
  const manifest = JSON.parse(blob(index.manifests[0]).toString()) as { layers: Descriptor[] }
  return manifest.layers.map((layer) => {
    const stored = blob(layer)
    const tar = layer.mediaType.endsWith('gzip') ? gunzipSync(stored) : stored
    const builder = new TocBuilder()
    const parser = new TarParser({
      onEntry: (entry) => {
        builder.onEntry(entry)
      },
    })
    parser.write(tar, 0)
    parser.end(tar.length)
    return { tar, toc: builder.finish(tar.length) }
  })
}

function oracleRows(text: string): Rows {
  const rows: [string, Row][] = text.trim().split('\n').map(oracleRow)
  return Object.fromEntries(rows.sort(([a], [b]) => (a < b ? -1 : 1)))
}
