import { existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { encodeDigests } from '../../src/cache/piece-map.js'
import { seal } from '../../src/cache/sealed-file.js'
import { createHash } from 'node:crypto'
import { digestOf } from '../../src/image/digest.js'
import { fillLayer, writeEverything } from './layers.js'

interface Filled {
  readonly cache: Cache
  readonly layer: string
  readonly rootfs: string
  readonly archive: string
  readonly decoded: string
  readonly blob: string
}

async function fill(dir: string): Promise<Filled> {
  const cache = await Cache.open({ dir })
  const layer = cache.layerPath(await writeEverything(cache, 1))
  const identity = { dev: '1', ino: '1', size: 2_500_000, mtimeNs: '1', ctimeNs: '1' }
  const staging = await cache.stage()
  const bytes = fillLayer(5, 20_000)
  writeFileSync(join(staging.path, 'archive'), bytes)
  const sha256 = digestOf(bytes).slice(7)
  const decoded = await cache.publishDecodedArchive(staging, 'archive', { source: sha256, sha256 })
  await staging.remove()
  const blob = await cache.putBlob(digestOf(bytes), [bytes], { size: bytes.length })
  return {
    cache,
    layer,
    rootfs: cache.rootfsPath(1, 'k1'),
    archive: cache.archiveRecordPath(identity),
    decoded,
    blob,
  }
}

function flip(path: string, offset = 100): void {
  const bytes = readFileSync(path)
  bytes[offset] = (bytes[offset] ?? 0) ^ 4
  writeFileSync(path, bytes)
}

t.test('verify() finds nothing wrong with what was just written', async (t) => {
  const { cache } = await fill(`${t.testdir()}/cache`)
  const progress: number[] = []
  const result = await cache.verify({ onProgress: ({ done }) => progress.push(done) })
  t.equal(result.checked, 5)
  t.strictSame(result.bad, [])
  t.ok(result.bytes > 2_500_000 + 100_000 + 40_000)
  t.strictSame(progress, [0, 1, 2, 3, 4, 5])
  await t.rejects(cache.verify({ signal: AbortSignal.abort() }), { code: 'INTERRUPTED' })
})

t.test('verify() finds and removes every kind of damage', async (t) => {
  const cases: {
    name: string
    damage: (filled: Filled) => void
    path: (filled: Filled) => string
    why: string
  }[] = [
    {
      name: 'toc',
      damage: ({ layer }) => {
        flip(join(layer, 'toc'), 1)
      },
      path: ({ layer }) => join(layer, 'toc'),
      why: 'its SHA-256 does not match',
    },
    {
      name: 'data',
      damage: ({ layer }) => {
        flip(join(layer, 'data'), 2_400_000)
      },
      path: ({ layer }) => join(layer, 'data'),
      why: 'piece 2 has another SHA-256',
    },
    {
      name: 'data cut',
      damage: ({ layer }) => {
        truncateSync(join(layer, 'data'), 5)
      },
      path: ({ layer }) => join(layer, 'data'),
      why: 'its length is wrong',
    },
    {
      name: 'digests',
      damage: ({ layer }) => {
        flip(join(layer, 'digests'), 30)
      },
      path: ({ layer }) => join(layer, 'data'),
      why: 'its SHA-256 does not match',
    },
    {
      name: 'data forged together with its digests',
      damage: ({ layer }) => {
        const data = fillLayer(99, 2_500_000)
        writeFileSync(join(layer, 'data'), data)
        const pieces = [0, 1, 2].map((piece) =>
          createHash('sha256')
            .update(data.subarray(piece << 20, (piece + 1) << 20))
            .digest(),
        )
        const digests = encodeDigests(data.length, pieces)
        writeFileSync(join(layer, 'digests'), Buffer.concat([...digests, seal(digests)]))
      },
      path: ({ layer }) => join(layer, 'data'),
      why: 'it does not hash to its name',
    },
    {
      name: 'a foreign file',
      damage: ({ layer }) => {
        writeFileSync(join(layer, 'what'), '')
      },
      path: ({ layer }) => join(layer, 'what'),
      why: 'it does not belong there',
    },
    {
      name: 'rootfs',
      damage: ({ rootfs }) => {
        flip(rootfs)
      },
      path: ({ rootfs }) => rootfs,
      why: 'its SHA-256 does not match',
    },
    {
      name: 'rootfs a directory',
      damage: ({ rootfs }) => {
        rmSync(rootfs)
        mkdirSync(rootfs)
      },
      path: ({ rootfs }) => rootfs,
      why: 'it is not a regular file',
    },
    {
      name: 'archive record',
      damage: ({ archive }) => {
        flip(archive, 10)
      },
      path: ({ archive }) => archive,
      why: 'its SHA-256 does not match',
    },
    {
      name: 'record of another archive',
      damage: ({ archive }) => {
        const payload = Buffer.from(
          readFileSync(archive).subarray(0, -48).toString().replace('"ino":"1"', '"ino":"2"'),
        )
        writeFileSync(archive, Buffer.concat([payload, seal([payload])]))
      },
      path: ({ archive }) => archive,
      why: 'it is about another file',
    },
    {
      name: 'decoded archive',
      damage: ({ decoded }) => {
        flip(decoded)
      },
      path: ({ decoded }) => decoded,
      why: 'its SHA-256 does not match',
    },
    {
      name: 'decoded archive cut',
      damage: ({ decoded }) => {
        truncateSync(decoded, 5)
      },
      path: ({ decoded }) => decoded,
      why: 'it is not as long as it was',
    },
    {
      name: 'blob',
      damage: ({ blob }) => {
        flip(blob)
      },
      path: ({ blob }) => blob,
      why: 'it does not hash to its name',
    },
    {
      name: 'blob of no algorithm',
      damage: ({ blob }) => {
        writeFileSync(join(blob, '..', 'nonsense'), '')
      },
      path: ({ blob }) => join(blob, '..', 'nonsense'),
      why: 'its name is no digest that can be checked',
    },
  ]
  for (const { name, damage, path, why } of cases) {
    await t.test(name, async (t) => {
      const filled = await fill(`${t.testdir()}/cache`)
      damage(filled)
      const bad = { path: path(filled).slice(filled.cache.root.length + 1), why }
      t.strictSame((await filled.cache.verify({ keep: true })).bad, [{ ...bad, isRemoved: false }])
      t.ok(existsSync(path(filled)), 'kept when asked to')
      t.strictSame((await filled.cache.verify()).bad, [{ ...bad, isRemoved: true }])
      t.notOk(existsSync(path(filled)))
      t.strictSame((await filled.cache.verify()).bad, [])
    })
  }
})

t.test('verify() passes over what does not count', async (t) => {
  const { cache, layer, decoded } = await fill(`${t.testdir()}/cache`)
  rmSync(join(layer, 'data.map'))
  rmSync(`${decoded}.sum`)
  flip(join(layer, 'data'))
  flip(decoded)
  t.strictSame((await cache.verify()).bad, [])
  t.equal(await cache.findDecodedArchive(decoded.slice(-64)), undefined)
})
