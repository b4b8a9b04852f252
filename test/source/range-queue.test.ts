import t from 'tap'
import { RangeQueue } from '../../src/source/range-queue.js'

const never = new AbortController().signal

/** Work that begins when the queue lets it, and ends when it is told to. */
function worker(
  queue: RangeQueue,
  isUrgent: boolean,
  options: { hurry?: AbortSignal; signal?: AbortSignal; bytes?: number; isLikely?: boolean } = {},
): {
  hasBegun: boolean
  end: () => void
  done: Promise<void>
  onBytes: (bytes: number) => void
} {
  let end = (): void => undefined
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  const state = {
    ...({ hasBegun: false, end, onBytes: (): void => undefined } as {
      hasBegun: boolean
      end: () => void
      onBytes: (bytes: number) => void
    }),
    done: queue.run({ isUrgent, signal: never, bytes: 1000, ...options }, async (_, onBytes) => {
      state.hasBegun = true
      state.onBytes = onBytes
      await ended
    }),
  }
  return state
}

const turns = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

t.test('RangeQueue keeps places for who cannot wait, and lets them go first', async (t) => {
  const queue = new RangeQueue()
  const idle = Array.from({ length: 8 }, () => worker(queue, false))
  const urgent = Array.from({ length: 3 }, () => worker(queue, true))
  await turns()
  t.equal(idle.filter(({ hasBegun }) => hasBegun).length, 4)
  t.strictSame(
    urgent.map(({ hasBegun }) => hasBegun),
    [true, true, false],
  )
  idle[0]?.end()
  await turns()
  t.equal(urgent[2]?.hasBegun, true, 'before any that nobody waits for')
  t.equal(idle[4]?.hasBegun, false)
  for (const { end } of [...idle, ...urgent]) end()
  await Promise.all([...idle, ...urgent].map(({ done }) => done))
})

t.test('RangeQueue lets go first what somebody begins to wait for', async (t) => {
  const queue = new RangeQueue()
  const hurry = new AbortController()
  const before = Array.from({ length: 6 }, () => worker(queue, false))
  const last = worker(queue, false, { hurry: hurry.signal })
  await turns()
  t.equal(last.hasBegun, false)
  hurry.abort()
  await turns()
  t.equal(last.hasBegun, true, 'in a place that was kept')
  t.equal(before[4]?.hasBegun, false)
  for (const { end } of [...before, last]) end()
  await Promise.all([...before, last].map(({ done }) => done))
  const behind = worker(queue, false)
  await turns()
  t.equal(behind.hasBegun, true, 'all places are free again')
  behind.end()
  await behind.done
})

t.test('RangeQueue keeps the line for who cannot wait until little is left', async (t) => {
  const queue = new RangeQueue()
  const large = worker(queue, true, { bytes: 1_000_000 })
  const cut = worker(queue, true, { bytes: 600_000 })
  const idle = worker(queue, false)
  const urgent = worker(queue, true)
  await turns()
  t.equal(urgent.hasBegun, true)
  t.equal(idle.hasBegun, false)
  large.onBytes(900_000)
  await turns()
  t.equal(idle.hasBegun, false)
  cut.end()
  await turns()
  t.equal(idle.hasBegun, true, 'of what failed nothing is left')
  for (const { end } of [large, urgent, idle]) end()
  await Promise.all([large, cut, urgent, idle].map(({ done }) => done))
})

t.test('RangeQueue keeps it also for what somebody begins to wait for on its way', async (t) => {
  const queue = new RangeQueue()
  const hurry = new AbortController()
  const large = worker(queue, false, { bytes: 1_000_000, hurry: hurry.signal })
  const before = worker(queue, false)
  await turns()
  t.equal(before.hasBegun, true)
  large.onBytes(100_000)
  hurry.abort()
  const idle = worker(queue, false)
  await turns()
  t.equal(idle.hasBegun, false)
  large.onBytes(700_000)
  await turns()
  t.equal(idle.hasBegun, true)
  for (const { end } of [large, before, idle]) end()
  await Promise.all([large, before, idle].map(({ done }) => done))
  const behind = worker(queue, false)
  await turns()
  t.equal(behind.hasBegun, true, 'nothing is left of them')
  behind.end()
  await behind.done
})

t.test('RangeQueue has what is likely to be waited for go on meanwhile', async (t) => {
  const queue = new RangeQueue()
  const urgent = worker(queue, true, { bytes: 1_000_000 })
  const idle = worker(queue, false)
  const likely = Array.from({ length: 6 }, () => worker(queue, false, { isLikely: true }))
  await turns()
  t.strictSame(
    [urgent, idle, ...likely].map(({ hasBegun }) => hasBegun),
    [true, false, true, true, true, true, true, false],
    'in front of who came before and is not, in all places but one',
  )
  urgent.end()
  await turns()
  t.equal(likely[5]?.hasBegun, false, 'that one is kept')
  const second = worker(queue, true)
  await turns()
  t.equal(second.hasBegun, true)
  for (const { end } of [idle, ...likely, second]) end()
  await Promise.all([urgent, idle, ...likely, second].map(({ done }) => done))
})

t.test('RangeQueue forgets who gives up', async (t) => {
  const queue = new RangeQueue()
  const leaving = new AbortController()
  const before = Array.from({ length: 6 }, () => worker(queue, true))
  const gone = worker(queue, true, { signal: leaving.signal })
  leaving.abort()
  await t.rejects(gone.done)
  const next = worker(queue, true)
  for (const { end } of before) end()
  await turns()
  t.equal(next.hasBegun, true)
  t.equal(gone.hasBegun, false)
  next.end()
  await Promise.all([...before, next].map(({ done }) => done))
})
