// Random stacks of layers: our union against a naive extractor. OCIMOUNT_TEST_SEED repeats a run.

import t from 'tap'
import { isOcimountError } from '../../src/errors.js'
import type { AppliedLayers } from '../../src/rootfs/apply-layers.js'
import type { BuiltLayer } from '../helpers/build-layer.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { describeNaive, describeUnion, union } from './describe-tree.js'
import { extractNaively, type NaiveResult } from './naive-extractor.js'
import { randomStack } from './random-layers.js'

const STACKS = 2500
const seed = Number(process.env['OCIMOUNT_TEST_SEED'] ?? Date.now() % 2 ** 31)

t.test(`applyLayers() equals a naive extractor, seed ${seed}`, async (t) => {
  const random = new SeededRandom(seed)
  let applied = 0
  const remarks = new Set<string>()
  for (let index = 0; index < STACKS; index++) {
    const layers = randomStack(random)
    const naive = attemptNaive(layers)
    const ours = attempt(layers)
    if (naive === undefined || ours === undefined) {
      if ((naive === undefined) === (ours === undefined)) continue
      t.fail(`stack ${index}: only one of them refuses`, { layers: listing(layers), naive })
      return
    }
    applied++
    for (const remark of naive.remarks) remarks.add(remark)
    const want = describeNaive(naive.files)
    const found = await describeUnion(ours, layers)
    if (JSON.stringify(found) === JSON.stringify(want)) continue
    t.strictSame(found, want, `stack ${index}: ${listing(layers)}`)
    return
  }
  t.comment(`${applied} of ${STACKS} stacks could be applied`)
  t.ok(applied > STACKS / 4, 'most stacks are not refused')
  t.strictSame(
    [...remarks].sort(),
    ['B-035', 'B-059', 'B-063', 'B-072', 'B-073', 'B-077', 'B-078', 'B-089', 'B-091'],
    'the rare cases occurred',
  )
})

function attemptNaive(layers: readonly BuiltLayer[]): NaiveResult | undefined {
  try {
    return extractNaively(layers)
  } catch {
    return undefined
  }
}

function attempt(layers: readonly BuiltLayer[]): AppliedLayers | undefined {
  try {
    return union(layers)
  } catch (error) {
    if (isOcimountError(error, 'TAR_CORRUPT')) return undefined
    throw error
  }
}

function listing(layers: readonly BuiltLayer[]): string {
  return layers
    .map(({ toc }) =>
      toc.entries.map(({ type, path, linkTarget }) => `${type} ${path} ${linkTarget}`).join('\n'),
    )
    .join('\n--\n')
}
