// Makes random layers from so few names that collisions, symlinked parents, hard links of every age and
// whiteouts in every order happen all the time.

import * as build from '../helpers/build-layer.js'
import type { BuiltLayer, LayerPart, PartOptions } from '../helpers/build-layer.js'
import type { SeededRandom } from '../helpers/seeded-random.js'

const NAMES = ['a', 'b', 'c', 'd']
const TARGETS = [
  'a',
  'b',
  'c/d',
  '/a',
  '/b/c',
  '../d',
  '..',
  '.',
  '/',
  'a/../b',
  '../../c',
  'x/../d',
]

export interface RandomOptions {
  /** Only what umoci can be compared in, with whiteouts at the head of a layer or anywhere. */
  readonly forUmoci?: 'whiteouts-first' | 'any-order'
}

/** Makes a stack of one to four layers of up to twelve entries. */
export function randomStack(random: SeededRandom, options: RandomOptions = {}): BuiltLayer[] {
  const known: string[] = []
  return Array.from({ length: 1 + random.below(4) }, () => {
    const parts = Array.from({ length: 1 + random.below(12) }, () =>
      randomPart(random, known, options),
    )
    return build.layer(...(options.forUmoci === 'whiteouts-first' ? sorted(parts) : parts))
  })
}

function randomPart(random: SeededRandom, known: string[], options: RandomOptions): LayerPart {
  const path = randomPath(random)
  const kind = random.below(100)
  const style: PartOptions = {
    mode: random.pick([0o644, 0o755, 0o4755, 0o1777, 0]),
    uid: random.below(3),
    gid: random.below(3),
    mtime:
      1_000_000_000 +
      random.below(1000) +
      (options.forUmoci !== undefined ? 0 : random.pick([0, 0.5])),
    ...(random.chance(5) ? { xattrs: { [`user.${random.pick(NAMES)}`]: random.pick(NAMES) } } : {}),
  }
  const bare: PartOptions = { ...style }
  delete bare.xattrs
  if (kind < 18) return build.whiteout(path)
  if (kind < 24) return build.opaque(random.chance(10) ? '' : path)
  if (kind < 26) return build.dir('', style)
  if (kind < 38 && known.length > 0) {
    // Mostly names that were used before, sometimes one that is still to come or never will.
    const target = random.chance(10) ? randomPath(random) : random.pick(known)
    return build.hardlink(path, target, bare)
  }
  known.push(path)
  if (kind < 58) return build.dir(path, style)
  if (kind < 72 && options.forUmoci !== 'any-order') {
    return build.symlink(path, random.pick(TARGETS), bare)
  }
  if (kind < 75) return build.char(path, 1, 1 + random.below(9), bare)
  if (kind < 78) return build.fifo(path, bare)
  if (kind < 80 && options.forUmoci === undefined) {
    const pieces = [
      { offset: random.below(700), data: 'first' },
      { offset: 1000 + random.below(9000), data: 'second'.repeat(random.below(200)) },
    ]
    return build.sparse(path, 20_000, pieces, style)
  }
  return build.file(path, 'x'.repeat(random.below(1200)) + String(random.below(2 ** 32)), style)
}

function randomPath(random: SeededRandom): string {
  return Array.from({ length: 1 + random.below(3) }, () => random.pick(NAMES)).join('/')
}

/** Whiteouts before all else, parents before children. */
function sorted(parts: readonly LayerPart[]): LayerPart[] {
  const isWhiteout = ({ entry }: LayerPart): boolean =>
    entry.type === 'whiteout' || entry.type === 'opaque'
  const whiteouts = parts.filter(isWhiteout).sort((a, b) => (a.entry.path < b.entry.path ? -1 : 1))
  return [...whiteouts, ...parts.filter((part) => !isWhiteout(part))]
}
