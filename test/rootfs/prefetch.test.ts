// What is fetched of lazy layers before anybody asks, and in what order.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { FirstPiece } from '../../src/cache/piece-maker.js'
import { PIECE_SIZE } from '../../src/cache/piece-map.js'
import type { LayerDevice } from '../../src/layer/device.js'
import { prefetch, type PrefetchMode } from '../../src/rootfs/prefetch.js'
import { buildLazyLayer, lazyFile, type BuiltLazyLayer } from '../helpers/build-stargz.js'
import { layerLikeBytes } from '../helpers/native-addon.js'
import { readAt } from '../layer/lazy-layer.js'
import { lazyFixture } from '../layer/lazy.js'

const CONTENT = layerLikeBytes(8 * PIECE_SIZE, 5)

function layer(): BuiltLazyLayer {
  const half = 4 * PIECE_SIZE
  const members = [
    lazyFile('first', CONTENT.subarray(0, PIECE_SIZE + 512)),
    lazyFile('.prefetch.landmark', '\x0f'),
    lazyFile('a', CONTENT.subarray(PIECE_SIZE + 512, half)),
    lazyFile('b', CONTENT.subarray(half)),
  ]
  return buildLazyLayer({ format: 'estargz', chunkSize: 200_000, members })
}

/** Fetches ahead for some time, or to the end. */
async function fetchAhead(
  device: LayerDevice,
  mode: PrefetchMode,
  signal?: AbortSignal,
): Promise<void> {
  const parts = { devices: [device], layers: [{ mode: 'lazy' as const }] }
  await prefetch(parts, mode, signal ?? new AbortController().signal)
}

async function likely(device: LayerDevice): Promise<number[]> {
  return ((await device.firstPieces?.()) ?? []).map(({ piece }) => piece)
}

async function opened(t: Test): ReturnType<typeof lazyFixture> {
  return lazyFixture(t, layer())
}

t.test('none fetches nothing, all fetches everything', async (t) => {
  const { ranges, prepare } = await opened(t)
  const device = await (await prepare()).openDevice()
  t.teardown(() => device.close())
  const before = ranges.asked.length
  await fetchAhead(device, 'none')
  t.equal(ranges.asked.length, before)
  await fetchAhead(device, 'all')
  const asked = ranges.asked.slice(before)
  t.ok(asked.length > 0)
  t.notOk(
    asked.some(({ isUrgent }) => isUrgent),
    'nobody waits for it',
  )
  const after = ranges.asked.length
  await readAt(device, 0, device.size)
  t.equal(ranges.asked.length, after, 'and nobody has to wait later')
})

t.test(
  'profile fetches what was read first, and what the maker wants to be, before the rest',
  async (t) => {
    const { cache, ranges, prepare } = await opened(t)
    const lazy = await prepare()
    const first = await lazy.openDevice()
    t.strictSame(await likely(first), [0, 1], 'up to the landmark')
    await readAt(first, 6 * PIECE_SIZE)
    await readAt(first, 3 * PIECE_SIZE)
    await first.close()
    for (const name of ['data.map', 'data', 'digests']) {
      rmSync(join(cache.layerPath(lazy.layerId), name))
    }

    const again = await (await prepare()).openDevice()
    t.teardown(() => again.close())
    t.strictSame(await likely(again), [6, 3, 0, 1], 'of an earlier run first')
    // A reader that had to wait a moment ago: the rest is left for later.
    await readAt(again, 8 * PIECE_SIZE - 100)
    const before = ranges.asked.length
    const ending = new AbortController()
    const running = fetchAhead(again, 'profile', ending.signal)
    setTimeout(() => {
      ending.abort()
    }, 500)
    await running
    t.equal(again.presentBytes?.(), 5 * PIECE_SIZE, 'those four, and what was read')
    for (const piece of [6, 3, 0, 1]) await readAt(again, piece * PIECE_SIZE)
    const asked = ranges.asked.slice(before)
    t.ok(asked.length > 0)
    t.notOk(
      asked.some(({ isUrgent }) => isUrgent),
      'nobody had to wait for them',
    )
    t.strictSame(
      asked.map(({ isLikely }) => isLikely),
      [true, true, false],
      'what was read goes on while somebody waits, what its maker marked does not',
    )
  },
)

t.test('who begins to wait for what is being fetched is not left behind the rest', async (t) => {
  const { ranges, prepare } = await opened(t)
  const device = await (await prepare()).openDevice()
  t.teardown(() => device.close())
  await readAt(device, 0)
  const before = ranges.asked.length
  const filling = device.fill?.(5, 1)
  while (ranges.asked.length === before) await new Promise(setImmediate)
  t.ok((await readAt(device, 5 * PIECE_SIZE + 4096)).length > 0)
  t.equal(await filling, true)
  const asked = ranges.asked.slice(before)
  t.ok(asked.every(({ isUrgent, hurry }) => !isUrgent && hurry?.aborted === true))
})

t.test('a registry that fails, and a profile that is not one', async (t) => {
  const { cache, ranges, prepare } = await opened(t)
  const lazy = await prepare()
  await cache.writeSealed(cache.profilePath(lazy.layerId), [Buffer.from('nonsense')])
  const device = await lazy.openDevice()
  t.teardown(() => device.close())
  t.strictSame(await likely(device), [0, 1])
  ranges.fault = () => {
    throw new Error('gone')
  }
  const ending = new AbortController()
  const running = fetchAhead(device, 'all', ending.signal)
  setTimeout(() => {
    ending.abort()
  }, 100)
  await running
  ranges.fault = undefined
  t.ok((await readAt(device, 0)).equals(CONTENT.subarray(0, 100)), 'reading goes on')
})

t.test('the piece behind one that was waited for is there before it is asked for', async (t) => {
  const small = Array.from({ length: 30 }, (_, n) =>
    lazyFile(`small-${n}`, layerLikeBytes(100_000, n)),
  )
  const members = [...small, lazyFile('large', CONTENT)]
  const built = buildLazyLayer({ format: 'estargz', chunkSize: 4 * PIECE_SIZE, members })
  const { ranges, prepare } = await lazyFixture(t, built)
  const lazy = await prepare()
  const device = await lazy.openDevice()
  const ending = new AbortController()
  const running = fetchAhead(device, 'profile', ending.signal)
  t.teardown(async () => {
    ending.abort()
    await running
  })
  await device.ensure?.(0, 1)
  while (device.presentBytes?.() !== 2 * PIECE_SIZE) await new Promise(setImmediate)
  t.match(ranges.asked.at(-1), { isUrgent: false })
  // The next one holds the beginning of a large file, and so does each behind it.
  await device.ensure?.(4, 1)
  const before = ranges.asked.length
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(ranges.asked.length, before, 'a piece that costs much is left alone')
  await device.close()
  const again = await lazy.openDevice()
  t.strictSame(await likely(again), [0, 1, 4], 'and is a part of the profile')
  await again.close()
})

t.test('a layer that does not know what is read first keeps nobody from the others', async (t) => {
  const { prepare } = await opened(t)
  const device = await (await prepare()).openDevice()
  t.teardown(() => device.close())
  const filled: number[] = []
  const silent: LayerDevice = {
    size: 2 * PIECE_SIZE,
    ...{ read: device.read.bind(device), native: device.native.bind(device) },
    close: () => Promise.resolve(),
    firstPieces: () => Promise.reject(new Error('no table')),
    fill: (piece) => Promise.resolve(filled.push(piece) > 0),
  }
  const modes = [{ mode: 'lazy' as const }, { mode: 'lazy' as const }]
  const parts = { devices: [silent, device], layers: modes }
  await prefetch(parts, 'all', new AbortController().signal)
  t.strictSame(filled, [0], 'both pieces of it')
  const before = device.fetched?.()?.requests
  await readAt(device, 0, device.size)
  t.equal(device.fetched?.()?.requests, before, 'all of the other one is there')
})

t.test('what was read first is fetched in the order of all layers together', async (t) => {
  const filled: string[] = []
  const layerThat = (name: string, pieces: readonly FirstPiece[]): LayerDevice => ({
    size: 2 * PIECE_SIZE,
    ...{ read: () => Promise.resolve(), close: () => Promise.resolve() },
    native: () => ({ kind: 'memory', size: 0, bytes: Buffer.alloc(0) }),
    firstPieces: () => Promise.resolve(pieces),
    fill: (piece, count) => Promise.resolve(count === 1 && filled.push(`${name}${piece}`) > 0),
  })
  const at = (piece: number, atMs: number): FirstPiece => ({ piece, atMs })
  const devices = [
    layerThat('a', [at(7, 30), at(8, 40), at(0, Infinity), at(1, Infinity)]),
    layerThat('b', [at(9, 10), at(3, 35), at(4, Infinity)]),
  ]
  const layers = devices.map(() => ({ mode: 'lazy' as const }))
  const ending = new AbortController()
  const running = prefetch({ devices, layers }, 'profile', ending.signal)
  while (filled.length < 7) await new Promise(setImmediate)
  ending.abort()
  await running
  t.strictSame(filled, ['b9', 'a7', 'b3', 'a8', 'a0', 'b4', 'a1'], 'who knows no time takes turns')
})
