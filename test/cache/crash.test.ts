import { readdirSync } from 'node:fs'
import t, { type Test } from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { PieceFile } from '../../src/cache/piece-file.js'
import { forEachOf } from '../helpers/cli-checks.js'
import { seededRandom } from '../helpers/random.js'
import { writeEverything } from './layers.js'
import { startChild } from './processes.js'

/** Reads every layer that counts as present and checks that nothing else is left. */
async function checkAfterCrash(t: Test, dir: string): Promise<void> {
  const cache = await Cache.open({ dir })
  const { bad } = await cache.verify({ keep: true })
  t.strictSame(bad, [], 'what is there is right')
  await cache.prune({ maxBytes: Infinity })
  t.strictSame(readdirSync(cache.tmpPath), [], 'no staging is left')
  t.strictSame(readdirSync(cache.leasesPath), [], 'no lease is left')
  t.strictSame(readdirSync(cache.locksPath), [], 'no lock is left')
}

t.test('cache holds only right bytes after a kill at a random moment', async (t) => {
  const dir = `${t.testdir()}/cache`
  const random = seededRandom(t, Date.now() % 1_000_000)
  for (let round = 0; round < 8; round++) {
    const child = startChild(t, 'write', dir, String(round * 1000))
    await child.nextLine()
    // Not waiting for anything: the moment is what varies.
    await new Promise((resolve) => setTimeout(resolve, random.below(60)))
    child.process.kill('SIGKILL')
    t.equal(await child.ended, 'SIGKILL')
    await checkAfterCrash(t, dir)
    const cache = await Cache.open({ dir })
    for (const layerId of child.lines.slice(1)) {
      const file = await PieceFile.open(cache.layerPath(layerId))
      t.equal(file?.size, 2_500_000, 'a layer that was reported is there')
      await file?.close()
    }
    await cache.prune({ maxBytes: 0 })
  }
})

t.test('cache holds only right bytes after a kill before any file operation', async (t) => {
  const dir = t.testdir()
  const whole = startChild(t, 'write-one', `${dir}/whole`, '0')
  t.equal(await whole.ended, 0)
  const operations = Number(/^done (\d+)$/.exec(whole.lines[1] ?? '')?.[1])
  t.ok(operations > 40, `${operations} file operations`)
  // A third of them in each run, to be done in time.
  const first = 1 + seededRandom(t, Date.now() % 1_000_000).below(3)
  const stops = Array.from(
    { length: Math.ceil((operations + 1 - first) / 3) },
    (_, n) => first + 3 * n,
  )
  // Some at a time, since each waits for the disk again and again.
  await forEachOf(stops, async (stop) => {
    const child = startChild(t, 'write-one', `${dir}/${stop}`, String(stop))
    t.equal(await child.ended, 'SIGKILL', `killed before operation ${stop}`)
    await checkAfterCrash(t, `${dir}/${stop}`)
    const cache = await Cache.open({ dir: `${dir}/${stop}` })
    const layerId = await writeEverything(cache, 1)
    const { checked, bytes, bad } = await cache.verify()
    t.strictSame({ checked, bad }, { checked: 3, bad: [] }, 'the next process makes it whole')
    t.ok(bytes > 2_600_000)
    const file = await PieceFile.open(cache.layerPath(layerId))
    t.equal(file?.size, 2_500_000)
    await file?.close()
  })
})
