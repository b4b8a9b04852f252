// Makes random layers from so few names that collisions, symlinked parents, hard links of every age and
// whiteouts in every order happen all the time.

import * as build from '../helpers/build-layer.js'
import type { BuiltLayer, LayerPart, PartOptions } from '../helpers/build-layer.js'

/** A small seeded generator (mulberry32): 0 <= value < 1. */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

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
  /** Leaves out what umoci cannot be compared in. */
  readonly forUmoci?: boolean
}

/** Makes a stack of one to four layers of up to twelve entries. */
export function randomStack(random: () => number, options: RandomOptions = {}): BuiltLayer[] {
  const known: string[] = []
  return Array.from({ length: 1 + below(random, 4) }, () => {
    const parts = Array.from({ length: 1 + below(random, 12) }, () =>
      randomPart(random, known, options),
    )
    return build.layer(...parts)
  })
}

function randomPart(random: () => number, known: string[], options: RandomOptions): LayerPart {
  const path = randomPath(random)
  const kind = random()
  const style: PartOptions = {
    mode: pick(random, [0o644, 0o755, 0o4755, 0o1777, 0]),
    uid: below(random, 3),
    gid: below(random, 3),
    mtime:
      1_000_000_000 +
      below(random, 1000) +
      (options.forUmoci === true ? 0 : pick(random, [0, 0.5])),
    ...(random() < 0.2 ? { xattrs: { [`user.${pick(random, NAMES)}`]: pick(random, NAMES) } } : {}),
  }
  const bare: PartOptions = { ...style }
  delete bare.xattrs
  if (kind < 0.18) return build.whiteout(path)
  if (kind < 0.24) return build.opaque(random() < 0.1 ? '' : path)
  if (kind < 0.26) return build.dir('', style)
  if (kind < 0.38 && known.length > 0) {
    // Mostly names that were used before, sometimes one that is still to come or never will.
    const target = random() < 0.9 ? pick(random, known) : randomPath(random)
    return build.hardlink(path, target, bare)
  }
  known.push(path)
  if (kind < 0.58) return build.dir(path, style)
  if (kind < 0.72) return build.symlink(path, pick(random, TARGETS), bare)
  if (kind < 0.75) return build.char(path, 1, 1 + below(random, 9), bare)
  if (kind < 0.78) return build.fifo(path, bare)
  if (kind < 0.8 && options.forUmoci !== true) {
    const pieces = [
      { offset: below(random, 700), data: 'first' },
      { offset: 1000 + below(random, 9000), data: 'second'.repeat(below(random, 200)) },
    ]
    return build.sparse(path, 20_000, pieces, style)
  }
  return build.file(path, 'x'.repeat(below(random, 1200)) + String(random()), style)
}

function randomPath(random: () => number): string {
  return Array.from({ length: 1 + below(random, 3) }, () => pick(random, NAMES)).join('/')
}

function below(random: () => number, limit: number): number {
  return Math.floor(random() * limit)
}

function pick<T>(random: () => number, items: readonly T[]): T {
  return items[below(random, items.length)]!
}
