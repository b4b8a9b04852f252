// The order of an eviction: a reader that is under way holds it up. The stress test of whole mounts hits that by luck only.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { PieceEvictor, type EvictorParts } from '../../src/cache/piece-evictor.js'
import { PIECE_SIZE } from '../../src/cache/piece-map.js'
import { PieceStates } from '../../src/cache/piece-states.js'
import { PieceUse } from '../../src/cache/piece-use.js'

t.test('nothing is punched out before the reads that began earlier have ended', async (t) => {
  const punched: number[] = []
  const states = new PieceStates(2, () => true)
  const use = new PieceUse(2)
  const evictor = new PieceEvictor({
    native: { punchHole: (_fd: number, start: number) => punched.push(start) },
    parts: { handle: { fd: -1 }, map: { deviceSize: 2 * PIECE_SIZE }, path: 'data' },
    locks: { claim: () => true, release: () => undefined },
    presence: { lose: () => undefined, flush: () => Promise.resolve(true) },
    isBusy: () => false,
    ...{ states, use },
  } as unknown as EvictorParts)
  const reader = use.enter()
  const evicting = evictor.evict([1])
  await sleep(20)
  t.ok(states.isAbsent(1), 'new readers do not see it')
  t.strictSame(punched, [])
  use.leave(reader)
  t.equal(await evicting, PIECE_SIZE)
  t.strictSame(punched, [PIECE_SIZE])
})
