import t from 'tap'
import { ByteBudget } from '../../src/layer/byte-budget.js'

const turns = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Takes bytes; tells when they were given, and gives them back. */
function taker(
  budget: ByteBudget,
  bytes: number,
  turn: { isUrgent?: boolean; hurry?: AbortSignal; signal?: AbortSignal } = {},
): { has: boolean; back: () => void; done: Promise<void> } {
  const state = {
    has: false,
    back: (): void => undefined,
    done: budget.take(bytes, { isUrgent: false, ...turn }).then((back) => {
      state.has = true
      state.back = back
    }),
  }
  return state
}

t.test('ByteBudget gives no more than there is, in order', async (t) => {
  const budget = new ByteBudget(100)
  const takers = [60, 30, 20, 5].map((bytes) => taker(budget, bytes))
  await turns()
  t.strictSame(
    takers.map(({ has }) => has),
    [true, true, false, false],
    'nobody small goes before who waits longer',
  )
  takers[1]?.back()
  takers[1]?.back()
  await turns()
  t.strictSame(
    takers.map(({ has }) => has),
    [true, true, true, true],
  )
})

t.test('ByteBudget lets go first who is waited for', async (t) => {
  const budget = new ByteBudget(100)
  const first = taker(budget, 100)
  const hurry = new AbortController()
  const idle = taker(budget, 100)
  const hurried = taker(budget, 100, { hurry: hurry.signal })
  const urgent = taker(budget, 100, { isUrgent: true })
  await turns()
  hurry.abort()
  const order = [first, hurried, urgent, idle]
  for (const [index, one] of order.entries()) {
    t.strictSame(
      order.map(({ has }) => has),
      order.map((_, n) => n <= index),
    )
    one.back()
    await turns()
  }
})

t.test('ByteBudget gives more than it has to who is alone, and forgets who gives up', async (t) => {
  const budget = new ByteBudget(100)
  const small = taker(budget, 10)
  const leaving = new AbortController()
  const large = taker(budget, 500, { signal: leaving.signal })
  const behind = taker(budget, 10)
  await turns()
  t.strictSame([small.has, large.has, behind.has], [true, false, false])
  leaving.abort()
  await t.rejects(large.done, { code: 'INTERRUPTED' })
  await turns()
  t.equal(behind.has, true)
  small.back()
  behind.back()
  const alone = taker(budget, 500)
  await alone.done
  t.ok(alone.has)
})
