import t from 'tap'
import { MAX_CHUNKS, planChunks, type ChunkPlan } from '../../src/erofs/chunk-plan.js'
import type { ErofsExtent } from '../../src/erofs/node.js'
import { SeededRandom } from '../helpers/seeded-random.js'

type Extent = [fileOffset: number, deviceOffset: number, length: number, device?: number]

function extentsOf(rows: readonly Extent[]): ErofsExtent[] {
  return rows.map(([fileOffset, deviceOffset, length, device = 0]) => {
    return { fileOffset, device, deviceOffset, length }
  })
}

const TIB = 2 ** 40
const cases: {
  name: string
  size: number
  extents: Extent[]
  want: [chunkBits: number, chunkCount: number] | undefined
}[] = [
  { name: 'an empty file', size: 0, extents: [], want: [9, 0] },
  { name: 'one byte', size: 1, extents: [[0, 512, 1]], want: [9, 1] },
  { name: 'one block', size: 512, extents: [[0, 512, 512]], want: [9, 1] },
  { name: 'a byte more than a block', size: 513, extents: [[0, 512, 513]], want: [10, 1] },
  { name: 'a power of two', size: 2 ** 33, extents: [[0, 0, 2 ** 33]], want: [33, 1] },
  { name: 'more than the largest chunk', size: TIB + 1, extents: [[0, 0, TIB + 1]], want: [40, 2] },
  { name: 'only a hole', size: 5000, extents: [], want: [13, 1] },
  { name: 'the largest hole', size: 2 ** 53 - 1, extents: [], want: [40, 8192] },
  { name: 'an extent of nothing', size: 5000, extents: [[3, 3, 0]], want: [13, 1] },
  { name: 'a hole in front', size: 8192, extents: [[4096, 0, 4096]], want: [12, 2] },
  { name: 'a hole behind', size: 8192, extents: [[0, 0, 4096]], want: [12, 2] },
  { name: 'an odd hole behind', size: 8192, extents: [[0, 0, 4095]], want: undefined },
  { name: 'an odd tail', size: 8191, extents: [[4096, 0, 4095]], want: [12, 2] },
  { name: 'a hole on a block only', size: 8192, extents: [[512, 0, 7680]], want: [9, 16] },
  { name: 'a hole beside blocks', size: 8192, extents: [[511, 0, 7681]], want: undefined },
  { name: 'a device offset beside blocks', size: 10, extents: [[0, 100, 10]], want: undefined },
  {
    name: 'extents that continue one another',
    size: 1000,
    extents: [
      [0, 512, 100],
      [100, 612, 900],
    ],
    want: [10, 1],
  },
  {
    name: 'extents on two devices',
    size: 1000,
    extents: [
      [0, 512, 512],
      [512, 1024, 488, 1],
    ],
    want: [9, 2],
  },
  {
    name: 'extents in swapped places',
    size: 2048,
    extents: [
      [0, 1024, 1024],
      [1024, 0, 1024],
    ],
    want: [10, 2],
  },
  {
    name: 'as many chunks as there may be',
    size: 512 * MAX_CHUNKS,
    extents: [[512, 0, 512]],
    want: [9, MAX_CHUNKS],
  },
  {
    name: 'one chunk too many',
    size: 512 * MAX_CHUNKS + 1,
    extents: [[512, 0, 512]],
    want: undefined,
  },
  {
    name: 'offsets above 32 bits',
    size: 3 * 2 ** 36,
    extents: [[2 ** 36, 2 ** 35, 2 ** 36]],
    want: [36, 3],
  },
]

for (const { name, size, extents, want } of cases) {
  t.test(`planChunks() ${name}`, (t) => {
    const plan = want && { chunkBits: want[0], chunkCount: want[1] }
    t.strictSame(planChunks(size, extentsOf(extents)), plan)
    t.end()
  })
}

const malformed: Record<string, Extent[]> = {
  'leaves the file': [[0, 0, 1001]],
  'starts behind the file': [[1001, 0, 1]],
  'has a negative offset': [[-1, 0, 1]],
  'has a negative device offset': [[0, -512, 1]],
  'has a negative length': [[0, 0, -1]],
  'has a length that is no number': [[0, 0, NaN]],
  overlaps: [
    [0, 0, 600],
    [512, 1024, 100],
  ],
  descends: [
    [512, 0, 100],
    [0, 512, 100],
  ],
}

for (const [name, extents] of Object.entries(malformed)) {
  t.test(`planChunks() throws for an extent that ${name}`, (t) => {
    t.throws(() => planChunks(1000, extentsOf(extents)), { code: 'INTERNAL' })
    t.end()
  })
}

/** Says by definition whether chunks of one size can express a file: each is a hole or one run of blocks. */
function canExpress(size: number, extents: readonly ErofsExtent[], chunkSize: number): boolean {
  for (let start = 0; start < size; start += chunkSize) {
    const end = Math.min(size, start + chunkSize)
    const sources = new Set<string>()
    for (let offset = start; offset < end; offset++) {
      const extent = extents.find(
        (candidate) =>
          offset >= candidate.fileOffset && offset < candidate.fileOffset + candidate.length,
      )
      const first = extent && extent.deviceOffset + start - extent.fileOffset
      sources.add(extent === undefined ? 'zero' : `${extent.device}:${first}`)
      if (first !== undefined && (first < 0 || first % 512 !== 0)) return false
    }
    if (sources.size > 1) return false
  }
  return true
}

t.test('planChunks() finds a plan where and only where there is one', (t) => {
  const random = new SeededRandom(71)
  t.comment(`seed ${random.seed}`)
  let planned = 0
  for (let round = 0; round < 400; round++) {
    const unit = random.pick([256, 512, 512, 1024])
    const size = unit * random.below(8) + random.pick([0, 0, 1, 100])
    const extents: ErofsExtent[] = []
    let deviceOffset = unit * random.below(4)
    for (let fileOffset = unit * random.below(3); fileOffset < size;) {
      const length = Math.min(size - fileOffset, unit * (1 + random.below(3)))
      const device = random.chance(4) ? 1 : 0
      extents.push({ fileOffset, device, deviceOffset, length })
      fileOffset += length + unit * random.below(2)
      deviceOffset += random.chance(3) ? unit * random.below(4) : length
    }
    const works = (bits: number): boolean => canExpress(size, extents, 2 ** bits)
    const possible = [9, 10, 11, 12, 13, 14].filter(works)
    const plan: ChunkPlan | undefined = planChunks(size, extents)
    if (plan !== undefined) planned++
    const fewest = possible.length === 0 ? undefined : Math.ceil(size / 2 ** possible.at(-1)!)
    t.equal(plan?.chunkCount, fewest, JSON.stringify({ size, extents }))
    if (plan !== undefined) t.ok(works(plan.chunkBits))
  }
  t.ok(planned > 50 && planned < 350, `${planned} of 400 have a plan`)
  t.end()
})
