import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { DataFileWriter } from '../../src/cache/data-file-writer.js'
import { PieceFile } from '../../src/cache/piece-file.js'
import { PIECE_SIZE } from '../../src/cache/piece-map.js'
import { seal } from '../../src/cache/sealed-file.js'
import { seededRandom } from '../helpers/random.js'
import { chunksOf, fillLayer } from './layers.js'

const SIZE = 3 * PIECE_SIZE + 12_345

async function write(directory: string, bytes: Buffer): Promise<string> {
  mkdirSync(directory, { recursive: true })
  const writer = await DataFileWriter.create(directory)
  await writer.write(bytes)
  await writer.finish()
  return directory
}

/** Opens what must be there, and closes it with the test. */
async function open(t: Test, directory: string): Promise<PieceFile> {
  const file = await PieceFile.open(directory)
  if (file === undefined) throw new Error('there is no data')
  t.teardown(() => file.close())
  return file
}

function flip(path: string, offset: number): void {
  const bytes = readFileSync(path)
  const at = offset < 0 ? bytes.length + offset : offset
  bytes[at] = (bytes[at] ?? 0) ^ 1
  // In place, as a failing disk would.
  const descriptor = openSync(path, 'r+')
  writeSync(descriptor, bytes, at, 1, at)
  closeSync(descriptor)
}

t.test('DataFileWriter takes chunks of any length', async (t) => {
  const random = seededRandom(t)
  const sizes = [0, 1, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1, 8 * PIECE_SIZE, 9_000_001]
  for (const size of sizes) {
    const bytes = fillLayer(size, size)
    for (const longest of [40_000, 2_500_000]) {
      const directory = t.testdir()
      const writer = await DataFileWriter.create(directory)
      for (const chunk of chunksOf(bytes, random, longest)) await writer.write(chunk)
      t.equal(writer.size, size)
      t.strictSame(await writer.finish(), { size })
      t.ok(readFileSync(join(directory, 'data')).equals(bytes), `${size} in up to ${longest}`)
      const file = await open(t, directory)
      t.equal(file.size, size)
      const all = Buffer.alloc(size)
      await file.read(all, 0)
      t.ok(all.equals(bytes))
    }
  }
})

t.test('DataFileWriter asks to wait when the disk is behind, and then only', async (t) => {
  const writer = await DataFileWriter.create(t.testdir())
  const chunk = Buffer.alloc(PIECE_SIZE, 1)
  const waits: boolean[] = []
  for (let i = 0; i < 18; i++) {
    const wait = writer.write(chunk)
    waits.push(wait !== undefined)
    await wait
  }
  t.strictSame(waits.slice(0, 16), new Array(16).fill(false))
  t.ok(waits.slice(16).includes(true))
  await writer.finish()
})

t.test('DataFileWriter writes nothing that counts before it has finished', async (t) => {
  const directory = t.testdir()
  const writer = await DataFileWriter.create(directory)
  await writer.write(fillLayer(1, SIZE))
  t.equal(await PieceFile.open(directory), undefined)
  await t.rejects(DataFileWriter.create(directory), { code: 'STORAGE_FAILED' }, 'one at a time')
  await writer.abort()
  t.equal(await PieceFile.open(directory), undefined)
  t.throws(() => writer.write(Buffer.alloc(1)), { code: 'INTERNAL' })
  await t.rejects(writer.finish(), { code: 'INTERNAL' })
  await writer.abort()
})

t.test('PieceFile.read() gives any range, also concurrently', async (t) => {
  const random = seededRandom(t)
  const bytes = fillLayer(1, SIZE)
  const file = await open(t, await write(t.testdir(), bytes))
  const reads = Array.from({ length: 100 }, async () => {
    const offset = random.below(SIZE)
    const target = Buffer.alloc(
      random.below(Math.min(SIZE - offset, random.below(2_000_000) + 1) + 1),
    )
    await file.read(target, offset)
    return target.equals(bytes.subarray(offset, offset + target.length))
  })
  t.strictSame(await Promise.all(reads), new Array(100).fill(true))
  await file.read(Buffer.alloc(0), SIZE)
  for (const [length, offset] of [
    [1, SIZE],
    [1, -1],
    [SIZE + 1, 0],
    [1, 0.5],
    [1, NaN],
  ] as const) {
    await t.rejects(file.read(Buffer.alloc(length), offset), { code: 'INTERNAL' })
  }
})

t.test('PieceFile.read() refuses after close()', async (t) => {
  const file = await open(t, await write(t.testdir(), fillLayer(1, SIZE)))
  const reading = file.read(Buffer.alloc(10), 0)
  await file.close()
  await file.close()
  await reading.catch((error: unknown) => {
    t.match(error, { code: 'INTERNAL' }, 'a read under way ends or says why')
  })
  await t.rejects(file.read(Buffer.alloc(10), 0), { code: 'INTERNAL' })
})

t.test('PieceFile.read() refuses a piece with a flipped bit and drops the entry', async (t) => {
  const bytes = fillLayer(1, SIZE)
  for (const offset of [0, PIECE_SIZE - 1, PIECE_SIZE, SIZE - 1]) {
    const directory = await write(t.testdir(), bytes)
    writeFileSync(join(directory, 'toc'), 'stays')
    flip(join(directory, 'data'), offset)
    const file = await open(t, directory)
    const good = Math.floor(offset / PIECE_SIZE) === 0 ? PIECE_SIZE : 0
    const target = Buffer.alloc(5)
    await file.read(target, good)
    t.ok(target.equals(bytes.subarray(good, good + 5)), 'other pieces are good')
    for (let attempt = 0; attempt < 2; attempt++) {
      await t.rejects(file.read(Buffer.alloc(1), offset), { code: 'CACHE_CORRUPT' })
    }
    await file.read(target, good)
    t.ok(target.equals(bytes.subarray(good, good + 5)), 'and stay so')
    t.equal(await PieceFile.open(directory), undefined, 'the next open finds nothing')
    t.notOk(existsSync(join(directory, 'data')))
    t.ok(existsSync(join(directory, 'toc')))
  }
})

t.test('PieceFile.read() leaves an entry that was made again meanwhile', async (t) => {
  const bytes = fillLayer(1, SIZE)
  const parent = t.testdir()
  const directory = await write(join(parent, 'layer'), bytes)
  flip(join(directory, 'data'), 7)
  const file = await open(t, directory)
  rmSync(directory, { recursive: true })
  await write(directory, bytes)
  await t.rejects(file.read(Buffer.alloc(1), 0), { code: 'CACHE_CORRUPT' })
  const again = await open(t, directory)
  await again.read(Buffer.alloc(1), 0)
})

t.test(
  'PieceFile.read() never gives wrong bytes from a file that changes while it is open',
  async (t) => {
    const bytes = fillLayer(1, SIZE)
    const cases: { name: string; change: (path: string) => void; isHarmless: boolean }[] = [
      {
        name: 'cut',
        change: (path) => {
          truncateSync(path, 100)
        },
        isHarmless: false,
      },
      {
        name: 'cut and grown with zeros',
        change: (path) => {
          truncateSync(path, 0)
          truncateSync(path, SIZE)
        },
        isHarmless: false,
      },
      {
        name: 'one bit',
        change: (path) => {
          flip(path, 50_000)
        },
        isHarmless: false,
      },
      {
        name: 'removed',
        change: (path) => {
          unlinkSync(path)
        },
        isHarmless: true,
      },
      {
        name: 'replaced',
        change: (path) => {
          renameSync(path, `${path}.old`)
          writeFileSync(path, Buffer.alloc(SIZE))
        },
        isHarmless: true,
      },
      {
        name: 'another mode',
        change: (path) => {
          chmodSync(path, 0o400)
        },
        isHarmless: true,
      },
      {
        name: 'longer',
        change: (path) => {
          appendFileSync(path, 'x')
        },
        isHarmless: true,
      },
      {
        name: 'the same bytes again',
        change: (path) => {
          copyFileSync(path, `${path}2`)
          writeFileSync(path, readFileSync(`${path}2`))
        },
        isHarmless: true,
      },
    ]
    for (const { name, change, isHarmless } of cases) {
      const directory = await write(t.testdir(), bytes)
      const file = await open(t, directory)
      const target = Buffer.alloc(SIZE)
      await file.read(target, 0)
      await file.read(target, 0)
      change(join(directory, 'data'))
      target.fill(0xee)
      const read = file.read(target.subarray(0, 100_000), 0)
      if (isHarmless) {
        await read
        t.ok(target.subarray(0, 100_000).equals(bytes.subarray(0, 100_000)), name)
      } else {
        await t.rejects(read, { code: 'CACHE_CORRUPT' }, name)
      }
    }
  },
)

t.test('PieceFile.open() gives nothing for an entry that does not fit together', async (t) => {
  const cases: Record<string, (directory: string) => void> = {
    'data missing': (directory) => {
      unlinkSync(join(directory, 'data'))
    },
    'data.map missing': (directory) => {
      unlinkSync(join(directory, 'data.map'))
    },
    'digests missing': (directory) => {
      unlinkSync(join(directory, 'digests'))
    },
    'data cut': (directory) => {
      truncateSync(join(directory, 'data'), SIZE - 1)
    },
    'data longer': (directory) => {
      appendFileSync(join(directory, 'data'), 'x')
    },
    'data a link': (directory) => {
      renameSync(join(directory, 'data'), join(directory, 'elsewhere'))
      symlinkSync('elsewhere', join(directory, 'data'))
    },
    'data a directory': (directory) => {
      unlinkSync(join(directory, 'data'))
      mkdirSync(join(directory, 'data'))
    },
    'data.map flipped': (directory) => {
      flip(join(directory, 'data.map'), 24)
    },
    'digests flipped': (directory) => {
      flip(join(directory, 'digests'), 40)
    },
    'digests cut': (directory) => {
      truncateSync(join(directory, 'digests'), 60)
    },
    'data.map empty': (directory) => {
      truncateSync(join(directory, 'data.map'), 0)
    },
    'data.map of a longer device': (directory) => {
      const payload = readFileSync(join(directory, 'data.map')).subarray(0, -48)
      payload.writeBigUInt64LE(BigInt(SIZE + 1), 16)
      writeFileSync(join(directory, 'data.map'), Buffer.concat([payload, seal([payload])]))
    },
  }
  for (const [name, damage] of Object.entries(cases)) {
    const directory = await write(t.testdir(), fillLayer(1, SIZE))
    damage(directory)
    t.equal(await PieceFile.open(directory), undefined, name)
    rmSync(directory, { recursive: true })
    await write(directory, fillLayer(1, SIZE))
    await open(t, directory)
  }
})

t.test('PieceFile.read() refuses an absent piece of a sparse file', async (t) => {
  const directory = await write(t.testdir(), fillLayer(1, SIZE))
  const payload = readFileSync(join(directory, 'data.map')).subarray(0, -48)
  payload[24] = 0b1011
  writeFileSync(join(directory, 'data.map'), Buffer.concat([payload, seal([payload])]))
  const file = await open(t, directory)
  await file.read(Buffer.alloc(10), 2 * PIECE_SIZE - 10)
  await t.rejects(file.read(Buffer.alloc(10), 2 * PIECE_SIZE), { code: 'CACHE_CORRUPT' })
})
