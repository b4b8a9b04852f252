// Sparse files that are filled on demand, with a source that the tests can look into and break.

import { execFileSync } from 'node:child_process'
import { readFileSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Cache, type CacheOptions } from '../../src/cache/cache.js'
import { PieceFile, type PieceFileOptions } from '../../src/cache/piece-file.js'
import type {
  ComingPart,
  MadePieces,
  PieceSource,
  Stretch,
  WantedPieces,
} from '../../src/cache/piece-maker.js'
import { decodeMap, hasPiece, PIECE_SIZE } from '../../src/cache/piece-map.js'
import { unseal } from '../../src/cache/sealed-file.js'
import { writeSparseData } from '../../src/cache/sparse-data.js'
import { OcimountError } from '../../src/errors.js'
import { digestOf, type DiffId } from '../../src/image/digest.js'
import { loadNative } from '../../src/native.js'
import { seededRandom } from '../helpers/random.js'
import { cannotMountTmpfs, withTmpfs } from './disks.js'
import { fillLayer } from './layers.js'

const SIZE = 11 * PIECE_SIZE + 12_345
const PIECES = 12
const BYTES = fillLayer(1, SIZE)
const LAYER: DiffId = digestOf(BYTES)
const noAddon = loadNative() === undefined ? 'no addon' : false

/** Makes pieces from {@link BYTES}. */
class FakeSource implements PieceSource {
  readonly calls: number[][] = []
  /** For each call whether somebody waited when it began. */
  readonly urgent: boolean[] = []
  readonly bad = new Set<number>()
  writeFailure: string | undefined
  isClosed = false

  async make({ firstPiece, pieceDigests, dataFd, isUrgent }: WantedPieces): Promise<MadePieces> {
    const count = pieceDigests.length / 32
    const pieces = Array.from({ length: count }, (_, index) => firstPiece + index)
    this.calls.push(pieces)
    this.urgent.push(isUrgent())
    await new Promise((resolve) => setTimeout(resolve, 2))
    if (pieces.some((piece) => this.bad.has(piece))) {
      throw new OcimountError('DIGEST_MISMATCH', `Cannot read spans of ${pieces.join(',')}`, {
        details: { spans: '7' },
      })
    }
    const start = firstPiece * PIECE_SIZE
    const bytes = Buffer.from(BYTES.subarray(start, start + count * PIECE_SIZE))
    if (dataFd < 0 || this.writeFailure !== undefined)
      return { bytes, writeFailure: this.writeFailure }
    try {
      for (let done = 0; done < bytes.length;) {
        done += writeSync(dataFd, bytes, done, bytes.length - done, start + done)
      }
    } catch (error) {
      return { bytes, writeFailure: String(error) }
    }
    return { bytes, writeFailure: undefined }
  }

  close(): Promise<void> {
    this.isClosed = true
    return Promise.resolve()
  }
}

/** Has parts of pieces sooner than the pieces. */
class SourceOfParts extends FakeSource {
  readonly stretches: Stretch[] = []
  /** What keeps a stretch from coming. */
  failure: OcimountError | undefined
  /** Keeps pieces from being made. */
  gate = Promise.resolve()

  override async make(wanted: WantedPieces): Promise<MadePieces> {
    const made = await super.make(wanted)
    await this.gate
    return made
  }

  part(stretch: Stretch): Promise<ComingPart | undefined> {
    const { offset, length } = stretch
    this.stretches.push(stretch)
    const bytes =
      this.failure === undefined
        ? Promise.resolve(BYTES.subarray(offset, offset + length))
        : Promise.reject(this.failure)
    return Promise.resolve({ bytes })
  }
}

interface Layer {
  readonly cache: Cache
  readonly directory: string
  readonly open: (
    options?: Partial<PieceFileOptions>,
  ) => Promise<{ file: PieceFile; source: FakeSource }>
}

async function sparseLayer(t: Test, options: CacheOptions = {}): Promise<Layer> {
  const cache = await Cache.open({ ...options, dir: options.dir ?? join(t.testdir(), 'cache') })
  const directory = cache.layerPath(LAYER)
  const staging = await cache.stage()
  const digests = Array.from({ length: PIECES }, (_, piece) =>
    Buffer.from(
      digestOf(BYTES.subarray(piece * PIECE_SIZE, (piece + 1) * PIECE_SIZE)).slice(7),
      'hex',
    ),
  )
  await writeSparseData(staging.path, { deviceSize: SIZE, digests: Buffer.concat(digests) })
  await staging.publish('.', directory)
  await staging.remove()
  return {
    cache,
    directory,
    open: async (options = {}) => {
      const source = new FakeSource()
      const file = await PieceFile.open(directory, {
        source,
        store: cache.layerStore(LAYER),
        quota: cache.quota,
        ...options,
      })
      if (file === undefined) throw new Error('there is no data')
      t.teardown(() => file.close())
      return { file, source }
    },
  }
}

async function readAt(file: PieceFile, offset: number, length = 50): Promise<boolean> {
  const target = Buffer.alloc(length)
  await file.read(target, offset)
  return target.equals(BYTES.subarray(offset, offset + length))
}

function claimed(directory: string): number[] {
  const path = join(directory, 'data.map')
  const { present } = decodeMap(unseal(readFileSync(path), path), path)
  return Array.from({ length: PIECES }, (_, n) => n).filter((piece) => hasPiece(present, piece))
}

function states(file: PieceFile): number[] {
  const native = file.native()
  if (native.kind !== 'pieces') throw new Error('not of pieces')
  return [...native.state]
}

t.test('what was made is claimed at the end, and found by the next', async (t) => {
  const { cache, directory, open } = await sparseLayer(t)
  const { file, source } = await open()
  t.ok(await readAt(file, 2 * PIECE_SIZE + 5))
  t.ok(await readAt(file, SIZE - 50))
  t.strictSame(await file.ensure(7, 1), [])
  t.strictSame(states(file), [0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 2])
  t.equal(file.presentBytes(), 3 * PIECE_SIZE)
  t.strictSame(claimed(directory), [], 'not yet durable')
  await file.close()
  t.ok(source.isClosed)
  t.strictSame(claimed(directory), [2, 7, 11])
  t.strictSame((await cache.verify({ keep: true })).bad, [])
  const again = await open()
  t.strictSame(states(again.file), [0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1])
  t.ok(await readAt(again.file, 2 * PIECE_SIZE))
  t.strictSame(again.source.calls, [])
  t.strictSame(states(again.file).slice(0, 3), [0, 0, 2])
})

t.test('a bad piece is an error and a fault until it can be made', async (t) => {
  const { open } = await sparseLayer(t)
  const { file, source } = await open()
  source.bad.add(4)
  const failed = file.ensure(2, 5)
  await t.rejects(failed, { code: 'DIGEST_MISMATCH' })
  t.strictSame(states(file).slice(2, 7), [2, 2, 0, 2, 2], 'the others are there')
  t.match(file.faults(), [{ piece: 4, spans: '7', message: /^Cannot read spans of 4$/ }])
  await t.rejects(readAt(file, 4 * PIECE_SIZE), { code: 'DIGEST_MISMATCH' })
  source.bad.clear()
  t.ok(await readAt(file, 4 * PIECE_SIZE))
  t.strictSame(file.faults(), [])
})

t.test('what is wanted of a piece is given before the piece', async (t) => {
  const source = new SourceOfParts()
  const { open } = await sparseLayer(t)
  const { file } = await open({ source })
  const native = file.native()
  t.match(native, { hasParts: true })
  const given: Buffer[] = []
  const give = (bytes: Buffer): unknown => given.push(bytes)
  const at = 3 * PIECE_SIZE - 100
  let openGate: () => void = () => undefined
  source.gate = new Promise((resolve) => (openGate = resolve))
  const first = file.ensure(2, 2, { offset: at, length: 300, give })
  await sleep(20)
  t.strictSame(states(file).slice(2, 4), [0, 0])
  t.ok(given[0]?.equals(BYTES.subarray(at, at + 300)))
  t.strictSame(source.urgent, [false], 'nobody waits for the rest')
  const second = file.ensure(2, 1, { offset: at - 1000, length: 10, give })
  const whole = readAt(file, 2 * PIECE_SIZE)
  await sleep(20)
  t.equal(given.length, 2)
  t.strictSame(source.calls, [[2, 3]], 'made once')
  openGate()
  t.strictSame(await Promise.all([first, second]), [[], []])
  t.ok(await whole)
  t.strictSame(states(file).slice(2, 4), [2, 2])
  t.strictSame(await file.ensure(2, 1, { offset: at, length: 100, give }), [])
  t.equal(source.stretches.length, 2, 'what is there is not asked for')
})

t.test('what is wanted of a piece and cannot be had is an error at once', async (t) => {
  const source = new SourceOfParts()
  const { open } = await sparseLayer(t)
  const { file } = await open({ source })
  source.failure = new OcimountError('DIGEST_MISMATCH', 'it is wrong')
  let openGate: () => void = () => undefined
  source.gate = new Promise((resolve) => (openGate = resolve))
  const give = (): unknown => t.fail('nothing was there to be given')
  await t.rejects(file.ensure(5, 1, { offset: 5 * PIECE_SIZE, length: 10, give }), {
    code: 'DIGEST_MISMATCH',
  })
  openGate()
  t.strictSame(await file.ensure(5, 1), [])
  t.strictSame(source.calls, [[5]], 'the rest was being made')
})

t.test('what somebody begins to wait for is urgent, whenever that is', async (t) => {
  const { open } = await sparseLayer(t)
  const { file, source } = await open()
  const filled = file.fill(0, 4)
  t.ok(await readAt(file, PIECE_SIZE), 'asked for before the run has begun')
  t.equal(await filled, true)
  t.strictSame(source.calls, [[0, 1, 2, 3]])
  t.strictSame(source.urgent, [true])

  source.bad.add(6)
  const failing = file.fill(5, 3)
  await sleep(1)
  await t.rejects(readAt(file, 6 * PIECE_SIZE), { code: 'DIGEST_MISMATCH' })
  await t.rejects(failing, { code: 'DIGEST_MISMATCH' })
  t.strictSame(source.calls.slice(1), [[5, 6, 7], [5], [6], [7]])
  t.strictSame(source.urgent.slice(1), [false, false, true, false], 'one by one after a failure')

  source.bad.clear()
  t.equal(await file.fill(6, 1), true)
  t.equal(source.urgent.at(-1), false, 'nobody waits any more')
})

t.test('a file that is cut under a reader is filled again', async (t) => {
  const { directory, open } = await sparseLayer(t)
  const { file, source } = await open()
  t.ok(await readAt(file, 0, SIZE))
  source.calls.length = 0
  truncateSync(join(directory, 'data'), 3 * PIECE_SIZE + 7)
  t.ok(await readAt(file, 0, SIZE))
  t.strictSame(new Set(source.calls.flat()), new Set([3, 4, 5, 6, 7, 8, 9, 10, 11]))
})

t.test('a disk that takes nothing is told once, and reading goes on', async (t) => {
  const { directory, open } = await sparseLayer(t)
  const { file, source } = await open()
  source.writeFailure = 'no space'
  const unstored = await file.ensure(3, 2)
  t.strictSame(
    unstored.map(({ piece, bytes }) => [
      piece,
      bytes.equals(BYTES.subarray(piece << 20, (piece + 1) << 20)),
    ]),
    [
      [3, true],
      [4, true],
    ],
  )
  t.strictSame(states(file)[3], 0)
  source.calls.length = 0
  for (let i = 0; i < 8; i++) t.ok(await readAt(file, 3 * PIECE_SIZE + i * 131_072))
  t.strictSame(source.calls, [], 'a reader of small parts does not have it made each time')
  await file.close()
  t.strictSame(claimed(directory), [])
})

t.test('a full disk serves from memory and stays right', { skip: cannotMountTmpfs() }, (t) =>
  withTmpfs(t, 'size=6m', async (dir) => {
    const { cache, directory, open } = await sparseLayer(t, { dir })
    const { file } = await open()
    for (const round of [1, 2]) {
      for (let piece = 0; piece < PIECES; piece++) {
        t.ok(await readAt(file, piece * PIECE_SIZE), `piece ${piece}, round ${round}`)
      }
    }
    await file.close()
    t.ok(claimed(directory).length < PIECES)
    t.strictSame((await cache.verify({ keep: true })).bad, [])
  }),
)

const maxDataBytes = 5 * PIECE_SIZE

t.test('an eviction never shows in what is read', { skip: noAddon }, async (t) => {
  const random = seededRandom(t)
  const { cache, directory, open } = await sparseLayer(t, { maxDataBytes })
  const { file, source } = await open()
  const reader = async (): Promise<void> => {
    for (let i = 0; i < 80; i++) {
      const offset = random.below(SIZE - 200_000)
      if (!(await readAt(file, offset, 1 + random.below(200_000)))) t.fail(`at ${offset}`)
    }
  }
  await Promise.all([reader(), reader(), reader()])
  t.ok(source.calls.flat().length > PIECES, 'some were made more than once')
  await file.close()
  t.ok(claimed(directory).length <= 8)
  const { blocks } = statSync(join(directory, 'data'))
  t.ok(blocks * 512 < 9 * PIECE_SIZE, `${blocks * 512} bytes on disk`)
  t.strictSame((await cache.verify({ keep: true })).bad, [])
})

t.test('what is used stays, however it is read', { skip: noAddon }, async (t) => {
  const { open } = await sparseLayer(t, { maxDataBytes: 8 * PIECE_SIZE })
  const { file } = await open()
  const native = file.native()
  if (native.kind !== 'pieces') throw new Error('not of pieces')
  // Backwards, so that nothing is filled ahead.
  for (let piece = 5; piece >= 0; piece--) t.ok(await readAt(file, piece * PIECE_SIZE))
  native.use.fill(0, 64)
  t.ok(await readAt(file, 0))
  // As the addon's threads tell that they found it.
  native.use[64 + 1] = 1
  t.ok(await readAt(file, 9 * PIECE_SIZE))
  while (states(file).filter((state) => state === 0).length < 8) await sleep(1)
  t.strictSame(states(file), [2, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0])
  await file.close()
})

t.test('what others have checked stays, and the rest goes', { skip: noAddon }, async (t) => {
  const { cache, directory, open } = await sparseLayer(t, { maxDataBytes })
  const other = await open({ quota: undefined })
  for (const piece of [0, 1, 2, 3]) t.ok(await readAt(other.file, piece * PIECE_SIZE))
  const { file } = await open()
  for (let piece = 0; piece < PIECES; piece++) t.ok(await readAt(file, piece * PIECE_SIZE))
  await file.close()
  other.source.calls.length = 0
  for (const piece of [0, 1, 2, 3]) t.ok(await readAt(other.file, piece * PIECE_SIZE, 100_000))
  t.strictSame(other.source.calls, [], 'they are where they were')
  const { blocks } = statSync(join(directory, 'data'))
  t.ok(blocks * 512 < 10 * PIECE_SIZE, `${blocks * 512} bytes on disk`)
  await other.file.close()
  t.strictSame((await cache.verify({ keep: true })).bad, [])
})

t.test('what nobody has open goes first', { skip: noAddon }, async (t) => {
  const { cache, directory, open } = await sparseLayer(t)
  const { file } = await open()
  t.ok(await readAt(file, 0, SIZE))
  t.equal(await cache.emptyClosedData(PIECE_SIZE), 0, 'it is open')
  await file.close()
  const pin = await cache.pin([directory])
  t.equal(await cache.emptyClosedData(PIECE_SIZE), 0, 'it is mounted')
  await pin.release()
  const small = await Cache.open({ dir: cache.root, maxDataBytes })
  t.ok((await small.dataBytes()) >= SIZE)
  t.ok((await small.emptyClosedData(1)) >= SIZE)
  t.equal(await small.dataBytes(), 0)
  t.strictSame(claimed(directory), [])
  t.strictSame((await cache.verify({ keep: true })).bad, [])
  const again = await open()
  t.ok(await readAt(again.file, 0, SIZE))
})

t.test('a read-only cache is read, what it lacks is made', { skip: cannotMountTmpfs() }, (t) =>
  withTmpfs(t, 'size=30m', async (dir) => {
    const { directory, open } = await sparseLayer(t, { dir })
    const first = await open()
    t.ok(await readAt(first.file, 0))
    await first.file.close()
    execFileSync('mount', ['-o', 'remount,ro', join(dir, '..')])
    const { file, source } = await open()
    t.ok(await readAt(file, 0, 3 * PIECE_SIZE))
    t.strictSame(new Set(source.calls.flat()), new Set([1, 2]))
    await file.close()
    t.strictSame(claimed(directory), [0])
  }),
)

t.test('a file that was made again by somebody else gets no claims', async (t) => {
  const { directory, open } = await sparseLayer(t)
  const { file } = await open()
  t.ok(await readAt(file, 0))
  const bytes = readFileSync(join(directory, 'data'))
  execFileSync('rm', [join(directory, 'data')])
  writeFileSync(join(directory, 'data'), Buffer.alloc(bytes.length))
  await file.close()
  t.strictSame(claimed(directory), [])
})
