import t from 'tap'

import { defaultZstdBackend, unzstd, type ZstdBackend } from '../../src/compression/unzstd.js'
import { OcimountError } from '../../src/errors.js'
import { seededRandom } from '../helpers/random.js'
import { collect, filter, inPieces, sampleBytes, toolMissing } from '../helpers/streams.js'

const SAMPLE = sampleBytes(700_000)
const skip = toolMissing('zstd')
const backends: ZstdBackend[] = defaultZstdBackend() === 'node' ? ['node', 'wasm'] : ['wasm']

function zstd(input: Buffer, ...args: string[]): Buffer {
  return filter('zstd', ['-q', '-c', ...args], input)
}

function skippable(length: number, type = 0): Buffer {
  const frame = Buffer.alloc(8 + length, 'hidden')
  frame.writeUInt32LE(0x184d2a50 + type, 0)
  frame.writeUInt32LE(length, 4)
  return frame
}

for (const backend of backends) {
  const expand = (bytes: Buffer, pieces?: number): Promise<Buffer> =>
    collect(unzstd(inPieces(bytes, pieces), 'layer x', backend))

  t.test(`unzstd() with ${backend}`, { skip }, async (t) => {
    t.test('reads every kind of frame, however the input is cut', async (t) => {
      const cases = {
        plain: [],
        'without a checksum': ['--no-check'],
        'of level 19': ['-19'],
        'of level 1': ['-1'],
        'with a window of 8 MiB': ['--long=23'],
        'with a window of 128 MiB': ['--long=27'],
        'without a content size': ['--no-content-size'],
      }
      for (const [name, args] of Object.entries(cases)) {
        const bytes = zstd(SAMPLE, ...args)
        for (const pieces of [13, 4096, bytes.length]) {
          t.ok((await expand(bytes, pieces)).equals(SAMPLE), `${name}, pieces of ${pieces}`)
        }
      }
    })

    t.test('joins frames and passes over skippable ones, as zstd:chunked has them', async (t) => {
      const contents = Array.from({ length: 30 }, (_, i) => sampleBytes(i * 811, i + 1))
      const frames = contents.map((content) => zstd(content))
      const stream = frames.flatMap((frame, i) => [frame, skippable(i % 3 === 0 ? 0 : i, i % 16)])
      const bytes = Buffer.concat([skippable(5), ...stream, zstd(Buffer.alloc(0))])
      for (const pieces of [1, 3, 1000, bytes.length]) {
        t.ok((await expand(bytes, pieces)).equals(Buffer.concat(contents)), `pieces of ${pieces}`)
      }
    })

    t.test('tolerates zeros after the last frame and nothing else', async (t) => {
      const frame = zstd(Buffer.from('hello'))
      for (const pieces of [1, 5, 1 << 20]) {
        const padded = Buffer.concat([frame, Buffer.alloc(5000)])
        t.equal((await expand(padded, pieces)).toString(), 'hello')
        for (const tail of [
          Buffer.from('x'),
          Buffer.from('garbage'),
          Buffer.concat([Buffer.alloc(1), frame]),
          Buffer.concat([Buffer.alloc(4096), frame]),
          frame.subarray(0, 3),
        ]) {
          const bytes = Buffer.concat([frame, tail])
          await t.rejects(expand(bytes, pieces), { code: 'LAYER_CORRUPT' })
        }
      }
    })

    t.test('refuses a stream that is cut anywhere', async (t) => {
      const bytes = zstd(SAMPLE)
      for (let part = 0; part < 20; part++) {
        const cut = bytes.subarray(0, Math.floor((bytes.length * part) / 20))
        await t.rejects(expand(cut, 5000), { code: 'LAYER_CORRUPT' }, `${part}/20`)
      }
      await t.rejects(expand(bytes.subarray(0, -1)), { code: 'LAYER_CORRUPT' })
      await t.rejects(expand(Buffer.concat([bytes, skippable(9).subarray(0, 12)])), {
        code: 'LAYER_CORRUPT',
      })
    })

    t.test('never gives wrong bytes for a flipped bit', async (t) => {
      const random = seededRandom(t)
      const content = sampleBytes(20_000)
      const bytes = Buffer.concat([zstd(content), zstd(content.subarray(0, 1000))])
      const want = Buffer.concat([content, content.subarray(0, 1000)])
      let refused = 0
      for (let round = 0; round < 200; round++) {
        const bit = random.below(bytes.length * 8)
        const damaged = Buffer.from(bytes)
        damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
        try {
          t.ok((await expand(damaged)).equals(want), `bit ${bit}`)
        } catch (error) {
          refused++
          const isForeseen =
            error instanceof OcimountError &&
            ['LAYER_CORRUPT', 'COMPRESSION_UNSUPPORTED'].includes(error.code)
          if (!isForeseen) throw error
        }
      }
      t.ok(refused > 180, `${refused} of 200 refused`)
    })

    t.test('refuses windows above 128 MiB and dictionaries', async (t) => {
      const unsupported = { code: 'COMPRESSION_UNSUPPORTED' }
      // From standard input the size is not known, so the whole window is asked for.
      const long = zstd(SAMPLE, '--long=28', '--no-content-size')
      await t.rejects(expand(long), { ...unsupported, message: /window of 268435456 bytes/ })
      await t.rejects(expand(zstd(SAMPLE, '--ultra', '--long=31')), unsupported)
      const dictionary = t.testdir({ dictionary: '' }) + '/dictionary'
      const { execFileSync } = await import('node:child_process')
      const samples = t.testdir(
        Object.fromEntries(
          Array.from({ length: 40 }, (_, i) => [`s${i}`, `sample ${i} `.repeat(40 + i)]),
        ),
      )
      const files = Array.from({ length: 40 }, (_, i) => `${samples}/s${i}`)
      execFileSync('zstd', ['-q', '--train', ...files, '-o', `${dictionary}.zd`, '--maxdict=1024'])
      const frame = zstd(SAMPLE.subarray(0, 9000), '-D', `${dictionary}.zd`)
      await t.rejects(expand(frame), { ...unsupported, message: /dictionary/ })
    })

    t.test('closes an input that it leaves', async (t) => {
      const bytes = zstd(SAMPLE)
      let isClosed = false
      async function* endless(): AsyncGenerator<Buffer> {
        try {
          for (;;) yield bytes
        } finally {
          isClosed = true
        }
      }
      for await (const chunk of unzstd(endless(), 'x', backend)) {
        t.ok(chunk.length > 0)
        break
      }
      t.ok(isClosed)
    })
  })
}

t.test('unzstd() refuses what no frame can begin with', async (t) => {
  for (const hex of ['28b52ffd08', '28b52ffc', '28b52ffd0000070000', '28b52ffd0000f0ffff']) {
    const stream = unzstd(inPieces(Buffer.concat([Buffer.from(hex, 'hex'), Buffer.alloc(20)])), 'x')
    await t.rejects(collect(stream), { code: 'LAYER_CORRUPT' }, hex)
  }
})
