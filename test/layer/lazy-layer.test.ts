// Layers that are read in parts: the tree and every byte are those of the whole blob, whatever else the registry sends is not.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  decodeDigests,
  decodeMap,
  hasPiece,
  PIECE_SIZE,
  pieceCount,
} from '../../src/cache/piece-map.js'
import { unseal } from '../../src/cache/sealed-file.js'
import { indexLayer } from '../../src/layer/index-layer.js'
import { zstdMissing } from '../helpers/build-image.js'
import { buildLazyLayer, lazyFile, type LazyLayerSpec } from '../helpers/build-stargz.js'
import { fixtureDirectory, layerLikeBytes } from '../helpers/native-addon.js'
import { writeBlob } from './blobs.js'
import { contentsOf, lazyFixture, sampleMembers, type LazyFixture } from './lazy.js'
import { readAt } from './lazy-layer.js'

const FORMS: { name: string; spec: Omit<LazyLayerSpec, 'members'> }[] = [
  { name: 'eStargz', spec: { format: 'estargz' } },
  { name: 'eStargz in chunks', spec: { format: 'estargz', chunkSize: 300_000 } },
  { name: 'stargz with the older footer', spec: { format: 'stargz' } },
  { name: 'zstd:chunked', spec: { format: 'zstd:chunked', chunkSize: 300_000 } },
]

for (const { name, spec } of FORMS) {
  const skip = spec.format === 'zstd:chunked' && zstdMissing()
  t.test(`${name}: the same tree and bytes as the whole blob`, { skip }, async (t) => {
    const built = buildLazyLayer({ ...spec, members: sampleMembers() })
    const { cache, ranges, prepare } = await lazyFixture(t, built)
    const layer = await prepare()
    const fetched = ranges.bytes
    t.ok(fetched <= 64 * 1024, `${fetched} bytes were enough to know the tree`)
    const toc = await layer.loadToc()
    const device = await layer.openDevice()
    t.teardown(() => device.close())
    const lazily = await contentsOf(toc, (offset, length) => readAt(device, offset, length))

    const blob = writeBlob(join(fixtureDirectory(t), 'blob'), built.stored, { tar: built.tar })
    const indexed = await indexLayer(blob, { cache })
    const whole = await indexed.openDevice()
    t.teardown(() => whole.close())
    const wholly = await contentsOf(indexed.toc, (offset, length) => readAt(whole, offset, length))
    t.strictSame(lazily, wholly)
    t.ok(ranges.bytes < 1.2 * built.stored.length + fetched, 'nothing was fetched twice')
  })
}

const BIG = { format: 'estargz', chunkSize: 100_000 } as const

/** A layer of one large file, whose bytes are the device. */
async function bigFixture(t: Parameters<typeof lazyFixture>[0]): Promise<{
  content: Buffer
  fixture: LazyFixture
}> {
  const content = layerLikeBytes(6 * PIECE_SIZE, 3)
  const built = buildLazyLayer({ ...BIG, members: [lazyFile('big', content)] })
  return { content, fixture: await lazyFixture(t, built) }
}

t.test('neighbours are asked for together, each once, several requests at a time', async (t) => {
  const { content, fixture } = await bigFixture(t)
  const { ranges, prepare } = fixture
  const device = await (await prepare()).openDevice()
  t.teardown(() => device.close())
  const before = ranges.asked.length
  const all = await Promise.all(
    Array.from({ length: 12 }, (_, n) => readAt(device, (n % 6) * PIECE_SIZE + n, 4096)),
  )
  for (const [n, bytes] of all.entries()) {
    const at = (n % 6) * PIECE_SIZE + n
    t.ok(bytes.equals(content.subarray(at, at + 4096)))
  }
  const asked = ranges.asked.slice(before)
  t.ok(asked.length <= 7, `${asked.length} requests for 60 chunks`)
  t.ok(ranges.mostRunning > 1)
  const spans = asked
    .map(({ offset, length }) => [offset, offset + length] as const)
    .sort((a, b) => a[0] - b[0])
  for (const [n, [start]] of spans.entries()) {
    if (n > 0) t.ok(start >= (spans[n - 1]?.[1] ?? 0), 'no byte is asked for twice')
  }
})

t.test('what is wanted of a piece is asked for by itself, and the rest behind it', async (t) => {
  const { content, fixture } = await bigFixture(t)
  const { ranges, prepare } = fixture
  const device = await (await prepare()).openDevice()
  t.teardown(() => device.close())
  const ensure = async (offset: number, length: number): Promise<Buffer | undefined> => {
    let given: Buffer | undefined
    const give = (bytes: Buffer): void => void (given = bytes)
    const piece = Math.floor(offset / PIECE_SIZE)
    const count = Math.ceil((offset + length) / PIECE_SIZE) - piece
    t.strictSame(await device.ensure?.(piece, count, { offset, length, give }), [])
    return given
  }
  for (const [offset, pieces] of [
    [PIECE_SIZE + 500_000, 1],
    [4 * PIECE_SIZE - 2000, 2],
  ] as const) {
    const before = ranges.asked.length
    const given = await ensure(offset, 4096)
    t.ok(given?.equals(content.subarray(offset, offset + 4096)))
    const [first, ...rest] = ranges.asked.slice(before)
    t.equal(first?.isUrgent, true)
    t.ok((first?.length ?? Infinity) <= 200_000, 'the chunks that it lies in')
    t.ok(rest.length > 0 && rest.length <= 2 * pieces)
    t.ok(rest.every(({ isUrgent }) => !isUrgent))
    const asked = ranges.asked.slice(before)
    const start = Math.min(...asked.map((one) => one.offset))
    const end = Math.max(...asked.map((one) => one.offset + one.length))
    const sum = asked.reduce((bytes, one) => bytes + one.length, 0)
    t.ok(sum <= end - start + 64 * 1024, 'at most a gap is asked for twice')
  }
  const before = ranges.asked.length
  t.equal(await ensure(PIECE_SIZE, 4096), undefined, 'the piece is there')
  t.equal(ranges.asked.length, before)
})

t.test('of a piece that is small in the blob all is asked for', async (t) => {
  const built = buildLazyLayer({ ...BIG, members: [lazyFile('big', Buffer.alloc(3_000_000))] })
  const { ranges, prepare } = await lazyFixture(t, built)
  const device = await (await prepare()).openDevice()
  t.teardown(() => device.close())
  const before = ranges.asked.length
  const wanted = {
    offset: 500_000,
    length: 4096,
    give: () => t.fail('the piece was as soon there'),
  }
  t.strictSame(await device.ensure?.(0, 1, wanted), [])
  t.strictSame(
    ranges.asked.slice(before).map(({ isUrgent }) => isUrgent),
    [true],
  )
})

t.test('what was verified is found again, and checked again', async (t) => {
  const { content, fixture } = await bigFixture(t)
  const { cache, ranges, prepare } = fixture
  const layer = await prepare()
  const first = await layer.openDevice()
  await readAt(first, PIECE_SIZE)
  await readAt(first, 4 * PIECE_SIZE)
  await first.close()
  const directory = cache.layerPath(layer.layerId)
  const size = first.size
  const read = (name: string): Buffer => unseal(readFileSync(join(directory, name)), name)
  const present = [...Array(pieceCount(size)).keys()].filter((piece) =>
    hasPiece(decodeMap(read('data.map'), '').present, piece),
  )
  t.strictSame(present, [1, 4])
  const digests = decodeDigests(read('digests'), size, '')
  t.equal(
    digests.subarray(0, 32).equals(Buffer.alloc(32)),
    true,
    'nobody knows that of a piece which was not made',
  )

  const path = join(directory, 'data')
  const bytes = readFileSync(path)
  bytes[4 * PIECE_SIZE + 7] = (bytes[4 * PIECE_SIZE + 7] ?? 0) ^ 1
  writeFileSync(path, bytes)
  const before = ranges.asked.length
  const again = await (await prepare()).openDevice()
  t.teardown(() => again.close())
  t.equal(ranges.asked.length, before + 1, 'a look whether the blob is still there')
  t.ok((await readAt(again, PIECE_SIZE)).equals(content.subarray(PIECE_SIZE, PIECE_SIZE + 100)))
  t.equal(ranges.asked.length, before + 1, 'nothing is fetched that is there')
  const fourth = content.subarray(4 * PIECE_SIZE, 4 * PIECE_SIZE + 100)
  t.ok((await readAt(again, 4 * PIECE_SIZE)).equals(fourth), 'a flipped bit is not served')
  t.ok(ranges.asked.length > before + 1)
  t.strictSame((await cache.verify({ keep: true })).bad, [])
})

t.test('a chunk that comes wrong is asked for once more, and never served', async (t) => {
  const { content, fixture } = await bigFixture(t)
  const { cache, ranges, prepare } = fixture
  const layer = await prepare()
  const device = await layer.openDevice()
  const flip = (bytes: Buffer): Buffer => {
    bytes[300] = (bytes[300] ?? 0) ^ 0x10
    return bytes
  }
  ranges.fault = (bytes, _, attempt) => (attempt === 0 ? flip(bytes) : bytes)
  t.ok((await readAt(device, 0)).equals(content.subarray(0, 100)), 'right the second time')
  ranges.fault = flip
  await t.rejects(readAt(device, 3 * PIECE_SIZE), { code: 'DIGEST_MISMATCH' })
  t.ok((await readAt(device, 0)).equals(content.subarray(0, 100)), 'what is there goes on')
  t.equal(device.faults?.().length, 1)
  ranges.fault = undefined
  const third = content.subarray(3 * PIECE_SIZE, 3 * PIECE_SIZE + 100)
  t.ok((await readAt(device, 3 * PIECE_SIZE)).equals(third), 'and when it comes right it is served')
  await device.close()
  t.strictSame((await cache.verify({ keep: true })).bad, [])
})

t.test('a table of contents that comes wrong', async (t) => {
  const { fixture } = await bigFixture(t)
  const { ranges, prepare } = fixture
  ranges.fault = (bytes) => {
    const at = bytes.lastIndexOf('STARGZ') - 600
    bytes[at] = (bytes[at] ?? 0) ^ 1
    return bytes
  }
  await t.rejects(prepare(), /Cannot use a layer in parts: its table of contents cannot be used/)
  ranges.fault = (bytes, _, attempt) => (attempt === 0 ? Buffer.alloc(bytes.length) : bytes)
  await t.rejects(prepare(), /it has no footer of eStargz/)
  ranges.fault = undefined
  t.ok(await prepare())
})

t.test('another table than the manifest names is refused', async (t) => {
  const built = buildLazyLayer({ ...BIG, members: sampleMembers() })
  const [key = ''] = Object.keys(built.annotations)
  const annotations = { [key]: `sha256:${'0'.repeat(64)}` }
  const { prepare } = await lazyFixture(t, { ...built, annotations })
  await t.rejects(prepare(), { code: 'DIGEST_MISMATCH' })
})

t.test('a table of chunks that is gone is made again', async (t) => {
  const { content, fixture } = await bigFixture(t)
  const { cache, prepare } = fixture
  await (await (await prepare()).openDevice()).close()
  const layer = await prepare()
  const path = cache.chunksPath(layer.layerId)
  writeFileSync(path, readFileSync(path).subarray(0, 200))
  const device = await layer.openDevice()
  t.teardown(() => device.close())
  t.ok((await readAt(device, PIECE_SIZE)).equals(content.subarray(PIECE_SIZE, PIECE_SIZE + 100)))
})
