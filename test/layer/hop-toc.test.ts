// How much of a plain tar is read to list it.

import t from 'tap'
import { hopToc } from '../../src/layer/hop-toc.js'
import { buildTar, file } from '../helpers/build-tar.js'

interface Cost {
  readonly entries: number
  readonly bytes: number
  readonly reads: number
}

/** Lists files of the given sizes. */
async function listing(sizes: readonly number[]): Promise<Cost> {
  const archive = buildTar(sizes.map((size, index) => file(`f${index}`, Buffer.alloc(size))))
  const cost = { bytes: 0, reads: 0 }
  const toc = await hopToc({
    size: archive.length,
    read: (target, deviceOffset) => {
      archive.copy(target, 0, deviceOffset)
      cost.bytes += target.length
      cost.reads++
      return undefined
    },
  })
  return { ...cost, entries: toc.entries.length }
}

const times = (count: number, size: number): number[] => Array.from({ length: count }, () => size)

t.test('of files of 20 KB little but their headers is read', async (t) => {
  const { entries, bytes, reads } = await listing(times(1000, 20_000))
  t.equal(entries, 1000)
  t.ok(bytes < 5_000_000, `${bytes} bytes of 20 MB`)
  t.ok(reads <= 1010, `${reads} reads`)
})

t.test('small files are read in few large pieces', async (t) => {
  for (const size of [0, 1000, 3000]) {
    const { entries, reads } = await listing(times(5000, size))
    t.equal(entries, 5000)
    t.ok(reads < 40, `${reads} reads for files of ${size} bytes`)
  }
})

t.test('after a run of small files large ones do not pay for its window', async (t) => {
  const small = await listing(times(5000, 100))
  const both = await listing([...times(5000, 100), ...times(500, 100_000)])
  t.equal(both.entries, 5500)
  // The windows that the run has left behind, each half as long as the one before, and one of 4 KiB for each file.
  const most = 2 * 1024 * 1024 + 500 * 4096
  t.ok(both.bytes - small.bytes < most, `${both.bytes - small.bytes} bytes for 50 MB`)
})
