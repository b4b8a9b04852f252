// Gzip layers of every flavour, and ranges of every class in them, for the tests of both ways to read gzip.

import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { constants, gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import type { LayerDevice } from '../../src/layer/device.js'
import { fixtureDirectory } from '../helpers/native-addon.js'
import type { seededRandom } from '../helpers/random.js'
import { GZIP, readAt, TAR } from './lazy-layer.js'

/** What gives a blob that a program here can make, or why there is none. */
export type Flavour =
  | (() => Buffer)
  | {
      readonly program: string
      readonly args: readonly string[]
      /** How much of the layer it packs, if it is too slow for all; zlib packs the rest as a second member. */
      readonly length?: number
    }

const HEADER_WITH_EVERYTHING = Buffer.from([
  // Magic, deflate, all of FHCRC, FEXTRA, FNAME, FCOMMENT but the CRC, mtime, xfl, Unix (RFC 1952)
  ...[0x1f, 0x8b, 8, 4 | 8 | 16, 1, 2, 3, 4, 0, 3],
  ...[6, 0, 0x41, 0x70, 2, 0, 9, 9],
  ...Buffer.from('layer.tar\0a comment\0', 'latin1'),
])

export const FLAVOURS: Readonly<Record<string, Flavour>> = {
  ...Object.fromEntries(
    Array.from({ length: 10 }, (_, level) => [
      level === 0 ? 'stored blocks' : `level ${level}`,
      () => gzipSync(TAR, { level }),
    ]),
  ),
  'fixed codes': () => gzipSync(TAR, { strategy: constants.Z_FIXED }),
  'run lengths alone': () => gzipSync(TAR, { strategy: constants.Z_RLE }),
  'a small window': () => gzipSync(TAR, { windowBits: 9, memLevel: 1 }),
  'many members': () => members(70_001),
  'members of every level': () => members(999_983),
  'optional header fields': () => Buffer.concat([HEADER_WITH_EVERYTHING, GZIP.subarray(10)]),
  'zeros behind the end': () => Buffer.concat([GZIP, Buffer.alloc(10_240)]),
  pigz: { program: 'pigz', args: ['-c', '-p', '2'] },
  'pigz, independent blocks': { program: 'pigz', args: ['-c', '-p', '2', '-i'] },
  bgzip: { program: 'bgzip', args: ['-c'] },
  // One round of its search: blocks split by content, and codes that zlib does not make.
  zopfli: { program: 'zopfli', args: ['--i1', '-c'], length: 2_200_000 },
}

function members(length: number): Buffer {
  return Buffer.concat(
    Array.from({ length: Math.ceil(TAR.length / length) }, (_, i) =>
      gzipSync(TAR.subarray(i * length, (i + 1) * length), { level: i % 10 }),
    ),
  )
}

export function whyMissing(flavour: Flavour): string | false {
  if (typeof flavour === 'function') return false
  const { error } = spawnSync(flavour.program, ['--help'], { stdio: 'ignore' })
  return error === undefined ? false : `the program ${flavour.program} is not installed`
}

/** The programs are given a file, since zopfli reads nothing else. */
export function make(t: Test, flavour: Flavour): Buffer {
  if (typeof flavour === 'function') return flavour()
  const path = join(fixtureDirectory(t), 'layer.tar')
  const { program, args, length = TAR.length } = flavour
  writeFileSync(path, TAR.subarray(0, length))
  const packed = execFileSync(program, [...args, path], {
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return length === TAR.length ? packed : Buffer.concat([packed, gzipSync(TAR.subarray(length))])
}

/** Ranges of every class: at the ends of spans, across them, at both ends of the device, and anywhere. */
export function rangesOf(
  size: number,
  boundaries: readonly number[],
  random: ReturnType<typeof seededRandom>,
): [offset: number, length: number][] {
  const ranges: [number, number][] = [
    [0, 0],
    [0, 1],
    [0, 512],
    [size - 1, 1],
    [size - 4096, 4096],
    [size, 0],
  ]
  for (const boundary of boundaries) {
    const before = Math.max(0, boundary - 1)
    ranges.push([before, 1], [boundary, 1], [before, 2], [boundary, 0])
    ranges.push([Math.max(0, boundary - 2000), 4096], [boundary, 131_072], [before, 1_048_578])
  }
  for (let i = 0; i < 40; i++) {
    const offset = random.below(size)
    ranges.push([offset, 1 + random.below(Math.min(size - offset, 3_000_000))])
  }
  return ranges.map(([offset, length]) => [offset, Math.min(length, size - offset)])
}

export async function wrongRanges(
  device: LayerDevice,
  want: Buffer,
  ranges: readonly (readonly [number, number])[],
): Promise<string[]> {
  const wrong: string[] = []
  await Promise.all(
    ranges.map(async ([offset, length]) => {
      const got = await readAt(device, offset, length)
      if (!got.equals(want.subarray(offset, offset + length))) wrong.push(`${offset}+${length}`)
    }),
  )
  return wrong
}

/** What the program `gzip` makes of a blob, which must be the layer. */
export function unpackedByGzip(t: Test, stored: Buffer): Buffer {
  // It warns of zeros behind the end by status 2.
  const { stdout } = spawnSync('gzip', ['-dc'], { input: stored, maxBuffer: 1 << 28 })
  t.ok(stdout.equals(TAR))
  return stdout
}
