// Several processes with one gzip layer: filling it at once, being killed, going without the addon.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Cache } from '../../src/cache/cache.js'
import { PIECE_SIZE } from '../../src/cache/piece-map.js'
import type { LayerBlob } from '../../src/layer/layer-blob.js'
import { addonSkipReason } from '../helpers/native-addon.js'
import {
  ALL_PIECES,
  claimedPieces,
  contentOf,
  indexedLayer,
  openKnown,
  pieceBytes,
  readAt,
  TAR,
  watchFills,
} from './lazy-layer.js'

const skip = addonSkipReason()

interface Reader {
  readonly lines: string[]
  readonly ended: Promise<unknown>
  stop(): void
  kill(): void
  hasRead(): Promise<void>
}

function startReader(
  t: Test,
  { cache, blob }: { cache: Cache; blob: LayerBlob },
  mode: string,
  env: NodeJS.ProcessEnv = {},
): Reader {
  const path = fileURLToPath(new URL('./lazy-child.js', import.meta.url))
  const child = spawn(process.execPath, [path, cache.root, JSON.stringify(blob), mode], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  })
  child.stdin.on('error', () => undefined)
  t.teardown(() => child.kill('SIGKILL'))
  const lines: string[] = []
  const output = createInterface({ input: child.stdout })
  output.on('line', (line) => lines.push(line))
  const ended = once(child, 'close')
  return {
    lines,
    ended,
    stop: () => void child.stdin.write('stop\n'),
    kill: () => void child.kill('SIGKILL'),
    hasRead: async () => {
      if (lines.length === 0) await Promise.race([once(output, 'line'), ended])
    },
  }
}

t.test('two processes fill one layer and lose nothing of each other', { skip }, async (t) => {
  const layer = await indexedLayer(t)
  const { cache, blob } = layer
  const readers = [startReader(t, layer, '1'), startReader(t, layer, '2')]
  const read = (): Set<number> => new Set(readers.flatMap(({ lines }) => lines.map(Number)))
  while (read().size < ALL_PIECES.length - 2) {
    await Promise.race(readers.map(({ ended }) => ended).concat(pause()))
  }
  for (const reader of readers) reader.stop()
  await Promise.all(readers.map(({ ended }) => ended))
  const kept = claimedPieces(cache, blob)
  t.strictSame(
    [...read()].filter((piece) => !kept.includes(piece)),
    [],
    'all that was read is kept',
  )
  t.strictSame((await cache.verify({ keep: true })).bad, [])
  t.ok((await contentOf(await openKnown(blob, cache))).equals(TAR))
})

t.test('kill -9 while pieces are made leaves a right cache', { skip }, async (t) => {
  const layer = await indexedLayer(t)
  const { cache, blob } = layer
  for (let round = 1; round <= 8; round++) {
    const reader = startReader(t, layer, String(round))
    await reader.hasRead()
    await pause(round * 5)
    if (round % 4 === 0) reader.stop()
    else reader.kill()
    await reader.ended
    t.strictSame((await cache.verify({ keep: true })).bad, [])
  }
  t.ok(claimedPieces(cache, blob).length > 0)
  t.ok((await contentOf(await openKnown(blob, cache))).equals(TAR))
})

t.test('without the addon a layer is made whole, also over a sparse one', { skip }, async (t) => {
  const layer = await indexedLayer(t)
  const { cache, blob } = layer
  const device = await openKnown(blob, cache)
  await readAt(device, 0)
  const reader = startReader(t, layer, 'all', { OCIMOUNT_NATIVE: '0' })
  await reader.ended
  t.strictSame(reader.lines, ['whole'])
  t.ok((await readAt(device, 5 * PIECE_SIZE)).equals(pieceBytes(5)))
  await device.close()
  t.strictSame(claimedPieces(cache, blob), ALL_PIECES, 'the old file says nothing of the new one')
  const calls = watchFills(t)
  t.ok((await contentOf(await openKnown(blob, cache))).equals(TAR))
  t.strictSame(calls, [])
  t.strictSame((await cache.verify({ keep: true })).bad, [])
})

function pause(ms = 10): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
