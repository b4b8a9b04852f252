// Chunks that share members and frames, and what is kept of them in memory.

import { randomBytes } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import type { DecompressibleKind } from '../../src/compression/detect.js'
import { parseDigest } from '../../src/image/digest.js'
import { ChunkTableBuilder } from '../../src/layer/chunk-table-builder.js'
import { ChunkFetcher } from '../../src/layer/chunk-fetcher.js'
import { sha256, zstdMissing } from '../helpers/build-image.js'
import { zstd } from '../helpers/build-stargz.js'
import { MemoryRanges } from './lazy.js'

const MIB = 1024 * 1024

interface Part {
  readonly innerOffset: number
  readonly bytes: Buffer
}

/** Makes a fetcher of a blob out of packed members, each with some chunks. */
function fetcherOf(
  compression: DecompressibleKind,
  members: readonly { readonly packed: Buffer; readonly parts: readonly Part[] }[],
): { fetcher: ChunkFetcher; ranges: MemoryRanges } {
  const builder = new ChunkTableBuilder()
  let compressedOffset = 0
  let deviceOffset = 0
  for (const { packed, parts } of members) {
    for (const { innerOffset, bytes } of parts) {
      const { length } = bytes
      const digest = sha256(bytes).slice('sha256:'.length)
      builder.add({ deviceOffset, compressedOffset, length, innerOffset, sha256: digest })
      deviceOffset += length
    }
    compressedOffset += packed.length
  }
  const records = builder.finish(compression, compressedOffset)
  const blob = Buffer.concat(members.map(({ packed }) => packed))
  const ranges = new MemoryRanges(blob)
  const table = {
    ...{ compression, records, blobSize: blob.length, firstEnd: 0, deviceSize: deviceOffset },
    blobDigest: parseDigest(sha256('any')),
  }
  return { fetcher: new ChunkFetcher(table, ranges), ranges }
}

const options = { isUrgent: true, signal: new AbortController().signal }

async function get(fetcher: ChunkFetcher, first: number, behind: number): Promise<Buffer[]> {
  const found: Buffer[] = []
  await fetcher.get(first, behind, options, (chunk, bytes) => {
    found[chunk.index - first] = Buffer.from(bytes)
  })
  return found
}

t.test('a chunk of a frame is had again, also while its neighbour is kept', async (t) => {
  for (const compression of ['gzip', 'zstd'] as const) {
    if (compression === 'zstd' && zstdMissing()) continue
    const [a, b, c] = [randomBytes(16 * MIB), randomBytes(MIB), randomBytes(16 * MIB)]
    const pack = compression === 'gzip' ? (bytes: Buffer) => gzipSync(bytes, { level: 1 }) : zstd
    const { fetcher } = fetcherOf(compression, [
      {
        packed: pack(Buffer.concat([a, b])),
        parts: [
          { innerOffset: 0, bytes: a },
          { innerOffset: a.length, bytes: b },
        ],
      },
      { packed: pack(c), parts: [{ innerOffset: 0, bytes: c }] },
    ])
    t.ok((await get(fetcher, 0, 1))[0]?.equals(a))
    t.ok((await get(fetcher, 2, 3))[0]?.equals(c), 'for which the first one makes room')
    const [first, second] = await get(fetcher, 0, 2)
    t.ok(first?.equals(a))
    t.ok(second?.equals(b))
  }
})

t.test(
  'a large member is unpacked while it comes, and had again where that goes wrong',
  async (t) => {
    const large = randomBytes(4 * MIB)
    const packed = gzipSync(large, { level: 1 })
    for (const fault of ['none', 'flipped', 'cut'] as const) {
      const { fetcher, ranges } = fetcherOf('gzip', [
        { packed, parts: [{ innerOffset: 0, bytes: large }] },
      ])
      const attempts: number[] = []
      const read = ranges.read.bind(ranges)
      ranges.read = async (range, { onArrived, ...others }): Promise<Buffer> => {
        attempts.push(others.attempt)
        const bytes = Buffer.from(await read(range, others))
        const isWrong = fault !== 'none' && attempts.length === 1
        if (isWrong) bytes[MIB] = (bytes[MIB] ?? 0) ^ 1
        for (let length = 0; length < bytes.length; length += 100_000) {
          onArrived?.(bytes, length)
          await new Promise((resolve) => setImmediate(resolve))
          if (isWrong && fault === 'cut' && length > 2 * MIB) throw new Error('cut')
        }
        return bytes
      }
      const found = get(fetcher, 0, 1)
      if (fault === 'cut') {
        await t.rejects(found, { message: 'cut' })
        t.ok((await get(fetcher, 0, 1))[0]?.equals(large), 'the next time')
      } else t.ok((await found)[0]?.equals(large), fault)
      t.strictSame(attempts, { none: [0], flipped: [0, 1], cut: [0, 0] }[fault])
    }
  },
)

t.test('small chunks of large members take the memory of small chunks', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const size = 8 * MIB
  const packed = gzipSync(Buffer.alloc(size))
  const parts = [{ innerOffset: size - 1, bytes: Buffer.alloc(1) }]
  const { fetcher } = fetcherOf(
    'gzip',
    Array.from({ length: 32 }, () => ({ packed, parts })),
  )
  let most = 0
  const timer = setInterval(() => {
    collect()
    most = Math.max(most, process.memoryUsage().arrayBuffers)
  }, 50)
  collect()
  const before = process.memoryUsage().arrayBuffers
  await get(fetcher, 0, 32)
  clearInterval(timer)
  // What is collected is counted when a thread of V8 has freed it.
  let after = Infinity
  for (let tries = 0; tries < 40 && after - before >= size; tries++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 50))
    after = process.memoryUsage().arrayBuffers
  }
  t.ok(most - before < 10 * size, `${(most - before) / MIB} MiB at a time`)
  t.ok(after - before < size, `${(after - before) / MIB} MiB are kept`)
})

t.test('what is fetched at a time is bounded, also what waits to be unpacked', async (t) => {
  const size = 40 * MIB
  // Bytes of which a registry may say what it wants.
  const packed = Buffer.alloc(size)
  const member = { packed, parts: [{ innerOffset: 0, bytes: Buffer.alloc(size - 1) }] }
  const { fetcher, ranges } = fetcherOf('zstd', Array(5).fill(member) as (typeof member)[])
  const closing = new AbortController()
  let asked = 0
  ranges.read = async (_, { signal }): Promise<Buffer> => {
    asked++
    await new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => {
        reject(new Error('stopped'))
      })
    })
    return packed
  }
  const all = fetcher.get(0, 5, { isUrgent: true, signal: closing.signal }, () => undefined)
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(asked, 3, 'no more than 128 MiB')
  closing.abort()
  await t.rejects(all)
})

t.test('chunks at the front of a request are given while the rest is on its way', async (t) => {
  const contents = [1, 2, 3, 4].map(() => randomBytes(100_000))
  const members = contents.map((bytes) => ({
    packed: gzipSync(bytes),
    parts: [{ innerOffset: 0, bytes }],
  }))
  const { fetcher, ranges } = fetcherOf('gzip', members)
  let go = (): void => undefined
  ranges.pause = () =>
    new Promise((resolve) => {
      go = resolve
    })
  const given: number[] = []
  const all = fetcher.get(0, 4, options, ({ index }) => given.push(index))
  while (given.length < 2) await new Promise(setImmediate)
  t.strictSame(given.sort(), [0, 1])
  go()
  await all
  t.strictSame(given.sort(), [0, 1, 2, 3])
  t.equal(ranges.asked.length, 1)
})
