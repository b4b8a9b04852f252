// Random stacks of layers: our union against what `umoci raw unpack` makes of the same image on a real file
// system. umoci 0.4.7 is known to differ in some rows of the checklist; stacks that touch these are left out:
//
//   B-035  a link to itself: umoci removes the file, then misses it
//   B-059  a parent that is no directory: ENOTDIR
//   B-063  a forward link: ENOENT
//   B-077  an opaque marker without a directory: umoci makes none
//   B-078  a whiteout below a link that the layer replaces: umoci follows the link if it comes across it first
//   B-091  a link to what a whiteout hides: depends on the order
//   where whiteouts stand between entries, also
//   B-072  an entry below a file that a later whiteout hides: ENOTDIR
//   B-073  a hidden directory that is implied anew: umoci keeps the old attributes
//
// and there are no symbolic links then: umoci resolves the parents of a whiteout and of the entries before it in
// what the layer has made of the tree so far (B-089).
//
// Directories that umoci only touched on its way have the time of that (B-042, B-054); their times are not compared.

import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import type { BuiltLayer } from '../helpers/build-layer.js'
import { buildImage, json, type BuiltImage } from '../helpers/build-image.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { describeUnion, union, type Row, type Rows } from './describe-tree.js'
import { extractNaively, type NaiveRemark } from './naive-extractor.js'
import { oracleRow, withTimesOf } from './oracle-rows.js'
import { randomStack, type RandomOptions } from './random-layers.js'

const STACKS = 60
const seed = Number(process.env['OCIMOUNT_TEST_SEED'] ?? Date.now() % 2 ** 31)
const corpora = process.env['OCIMOUNT_CORPORA'] ?? '../shared/corpora'
const treeTool = resolve(corpora, '../tools/tree.py')

const ALWAYS: readonly NaiveRemark[] = ['B-035', 'B-059', 'B-063', 'B-077', 'B-078', 'B-091']
const LEFT_OUT = {
  'whiteouts-first': ALWAYS,
  'any-order': [...ALWAYS, 'B-072', 'B-073'],
} as const satisfies Record<string, readonly NaiveRemark[]>

/** Describes all trees at once by the oracle, in our own form. */
function dump(root: string): Map<string, Rows> {
  const output = execFileSync('python3', [treeTool, 'dump', root], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  const trees = new Map<string, Record<string, Row>>()
  for (const text of output.trim().split('\n')) {
    const [path, row] = oracleRow(text)
    const [name = '', ...parts] = path.split('/')
    if (name === '') continue
    const rows = trees.get(name) ?? {}
    trees.set(name, rows)
    rows[parts.join('/')] = withoutFirstPart(row)
  }
  return new Map([...trees].map(([name, rows]) => [name, sortRows(rows)]))
}

for (const order of ['whiteouts-first', 'any-order'] as const) {
  t.test(`applyLayers() equals umoci, ${order}, seed ${seed}`, { skip: skip() }, async (t) => {
    const dir = t.testdir()
    const stacks = comparableStacks(new SeededRandom(seed), order)
    const images = stacks.map((layers) => buildImage({ layers: layers.map(({ tar }) => tar) }))
    const layout = join(dir, 'layout')
    writeLayout(layout, images)
    mkdirSync(join(dir, 'out'))
    const start = BigInt(Date.now() - 2000) * 1_000_000n
    for (const index of images.keys()) {
      const args = [
        'raw',
        'unpack',
        '--image',
        `${layout}:s${index}`,
        join(dir, 'out', `s${index}`),
      ]
      const { status, stderr } = spawnSync('umoci', args, { encoding: 'utf8' })
      if (status === 0) continue
      t.fail(`umoci refuses stack ${index}: ${stderr}\n${listing(stacks[index]!)}`)
      return
    }
    const trees = dump(join(dir, 'out'))
    for (const [index, layers] of stacks.entries()) {
      const want = trees.get(`s${index}`)!
      const ours = await describeUnion(union(layers), layers)
      const found = withTimesOf(ours, want, start)
      if (JSON.stringify(found) === JSON.stringify(want)) continue
      t.strictSame(found, want, `stack ${index}: ${listing(layers)}`)
      return
    }
    t.equal(trees.size, STACKS)
  })
}

function skip(): string | false {
  if (process.getuid?.() !== 0) return 'umoci sets owners only as root'
  if (!existsSync(treeTool)) return 'tools/tree.py is not beside the corpora'
  const { error } = spawnSync('umoci', ['--version'])
  return error === undefined ? false : 'umoci is not installed'
}

/** Takes stacks that nobody refuses and that touch no row in which umoci differs. */
function comparableStacks(
  random: SeededRandom,
  forUmoci: NonNullable<RandomOptions['forUmoci']>,
): BuiltLayer[][] {
  const stacks: BuiltLayer[][] = []
  while (stacks.length < STACKS) {
    const layers = randomStack(random, { forUmoci })
    // Most stacks of many layers are left out, and of some seeds there would be none.
    if (stacks.length === STACKS - 1 && layers.length <= 2) continue
    try {
      const { remarks } = extractNaively(layers)
      if (!LEFT_OUT[forUmoci].some((remark) => remarks.has(remark))) stacks.push(layers)
    } catch {
      // A stack that is refused has no tree to compare.
    }
  }
  return stacks
}

function writeLayout(root: string, images: readonly BuiltImage[]): void {
  const blobs = join(root, 'blobs', 'sha256')
  mkdirSync(blobs, { recursive: true })
  const put = (bytes: Buffer): void => {
    writeFileSync(join(blobs, createHash('sha256').update(bytes).digest('hex')), bytes)
  }
  const manifests = images.map(({ config, manifest, layers, descriptor }, index) => {
    for (const bytes of [config, manifest, ...layers.map(({ stored }) => stored)]) put(bytes)
    return { ...descriptor, annotations: { 'org.opencontainers.image.ref.name': `s${index}` } }
  })
  writeFileSync(join(root, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }))
  writeFileSync(join(root, 'index.json'), json({ schemaVersion: 2, manifests }))
}

function withoutFirstPart(row: Row): Row {
  const { same } = row
  return typeof same === 'string' ? { ...row, same: same.slice(same.indexOf('/') + 1) } : row
}

function sortRows(rows: Rows): Rows {
  return Object.fromEntries(Object.entries(rows).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function listing(layers: readonly BuiltLayer[]): string {
  return layers
    .map(({ toc }) =>
      toc.entries.map(({ type, path, linkTarget }) => `${type} ${path} ${linkTarget}`).join('\n'),
    )
    .join('\n--\n')
}
