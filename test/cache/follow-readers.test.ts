import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { ReaderFollower } from '../../src/cache/follow-readers.js'

const PAUSE = 1
const turn = (): Promise<void> => sleep(20 * PAUSE)

t.test('ReaderFollower makes one piece at a time, that of the newest place', async (t) => {
  const made: number[] = []
  let go = (): void => undefined
  const follower = new ReaderFollower({
    pauseMs: PAUSE,
    isWorthIt: (piece) => piece !== 7,
    fill: (piece) => {
      made.push(piece)
      return new Promise((resolve) => {
        go = resolve
      })
    },
  })
  follower.onMade(2)
  follower.onMade(3)
  t.strictSame(made, [], 'a reader may say in a moment where it goes on')
  await turn()
  t.strictSame(made, [3])
  follower.onMade(10)
  follower.onMade(20)
  await turn()
  t.strictSame(made, [3], 'one at a time')
  go()
  await turn()
  t.strictSame(made, [3, 20], 'what is behind an older place is no longer of use')
  go()
  await turn()
  follower.onMade(7)
  await turn()
  t.strictSame(made, [3, 20], 'nothing that costs much')
  follower.onMade(8)
  await turn()
  t.strictSame(made, [3, 20, 8])
})

t.test('ReaderFollower goes on behind a piece that cannot be made', async (t) => {
  const tried: number[] = []
  const follower = new ReaderFollower({
    pauseMs: PAUSE,
    isWorthIt: () => true,
    fill: (piece) => {
      tried.push(piece)
      return Promise.reject(new Error('gone'))
    },
  })
  follower.onMade(1)
  await turn()
  follower.onMade(2)
  await turn()
  t.strictSame(tried, [1, 2])
})
