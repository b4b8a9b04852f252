// Fetches what is missing of lazy layers behind a mount, before anybody asks: first what is likely to be read first, then the rest when
// nobody has had to wait for a while. It never keeps a reader waiting for longer than a request that is under way.

import { setTimeout as sleep } from 'node:timers/promises'
import type { FirstPiece } from '../cache/piece-maker.js'
import { PIECE_SIZE } from '../cache/piece-map.js'
import { messageOf } from '../errors.js'
import type { LayerDevice } from '../layer/device.js'
import { log } from '../logger.js'
import type { Rootfs } from './build-rootfs.js'

/** `profile`: what is likely to be read first at once, the rest when it is quiet; `all`: the rest at once too. */
export type PrefetchMode = 'none' | 'profile' | 'all'

/** Requests at a time, as many as run of what is likely to be waited for, each for so many pieces. */
const WORKERS = 5
const RUN = 2
/** Without a reader that had to wait. */
const QUIET_MS = 2000
/** A registry that does not answer is left alone for a while. */
const REST_MS = 30_000

/** Fetches until everything is there, nothing can be kept, or the signal says stop. Never rejects. */
export async function prefetch(
  { devices, layers }: Pick<Rootfs, 'devices' | 'layers'>,
  mode: PrefetchMode,
  signal: AbortSignal,
): Promise<void> {
  const lazy = devices.filter((_, index) => layers[index]?.mode === 'lazy')
  if (mode === 'none' || lazy.length === 0) return
  const sinceMs = performance.now()
  for (const device of lazy) device.followReaders?.()
  try {
    await inParallel(likely(lazy), () => Promise.resolve(), signal)
    const quiet = (): Promise<void> => untilQuiet(lazy, sinceMs, signal)
    await inParallel(all(lazy), mode === 'all' ? () => Promise.resolve() : quiet, signal)
  } catch (error) {
    if (!signal.aborted) log.info({ why: messageOf(error) }, 'stopped fetching ahead')
  }
}

interface Run {
  readonly device: LayerDevice
  readonly piece: number
  readonly count: number
}

/**
 * In the order in which they were read, of all layers together. Where nobody knows that, the layers take turns; when they always did,
 * a second `import numpy` of Debian made 9 to 14 requests on demand, those of mounting included, and 4 to 7 with this.
 */
async function* likely(devices: readonly LayerDevice[]): AsyncGenerator<Run, void, undefined> {
  const lists = await Promise.all(devices.map(firstPieces))
  const all = lists.flat().sort((a, b) => (a.atMs === b.atMs ? a.turn - b.turn : a.atMs - b.atMs))
  for (const { device, piece } of all) yield { device, piece, count: 1 }
}

interface LikelyPiece extends FirstPiece {
  readonly device: LayerDevice
  /** Its place among those of its layer. */
  readonly turn: number
}

/** A layer that cannot tell takes nothing from the others. */
async function firstPieces(device: LayerDevice): Promise<readonly LikelyPiece[]> {
  try {
    const pieces = (await device.firstPieces?.()) ?? []
    return pieces.map(({ piece, atMs }, turn) => ({ device, piece, atMs, turn }))
  } catch (error) {
    log.info({ why: messageOf(error) }, 'does not know what of a layer is read first')
    return []
  }
}

async function* all(devices: readonly LayerDevice[]): AsyncGenerator<Run, void, undefined> {
  for (const device of devices) {
    for (let piece = 0; piece * PIECE_SIZE < device.size; piece += RUN) {
      yield await Promise.resolve({ device, piece, count: RUN })
    }
  }
}

/** Fills runs, some at a time. */
async function inParallel(
  runs: AsyncGenerator<Run, void, undefined>,
  whenFree: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const work = async (): Promise<void> => {
    for (;;) {
      await whenFree()
      const next = await runs.next()
      if (next.done === true || signal.aborted) return
      const { device, piece, count } = next.value
      try {
        if ((await device.fill?.(piece, count)) !== true) return
      } catch (error) {
        log.info({ why: messageOf(error) }, 'could not fetch ahead')
        await sleep(REST_MS, undefined, { signal, ref: false })
      }
    }
  }
  await Promise.all(Array.from({ length: WORKERS }, work))
}

/**
 * Waits until nobody has had to wait for a piece for a while. Who has just mounted is about to read: `sinceMs` counts as reading.
 *
 * @throws the reason of the signal
 */
export async function untilQuiet(
  devices: readonly LayerDevice[],
  sinceMs: number,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const lastMs = Math.max(sinceMs, ...devices.map(({ lastMissMs = -Infinity }) => lastMissMs))
    const restMs = lastMs + QUIET_MS - performance.now()
    if (restMs <= 0) return
    await sleep(restMs, undefined, { signal, ref: false })
  }
}
