import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

import t from 'tap'

import { Cache } from '../../src/cache/cache.js'
import type { Digest } from '../../src/image/digest.js'
import type { LayerDevice } from '../../src/layer/device.js'
import { findIndexedLayer, indexLayer, type IndexedLayer } from '../../src/layer/index-layer.js'
import { verifyLayer } from '../../src/layer/verify-layer.js'
import { compress, sha256, zstdMissing } from '../helpers/build-image.js'
import { buildTar, dir, file, hardlink, symlink } from '../helpers/build-tar.js'
import { filter, sampleBytes, toolMissing } from '../helpers/streams.js'
import { writeBlob } from './blobs.js'

const TAR = buildTar([
  dir('./'),
  file('./etc/passwd', 'root:x:0:0\n'),
  file('big', sampleBytes(3_000_000)),
  file('.wh.gone', ''),
  hardlink('link', 'big'),
  symlink('usr', '/etc'),
  file('last', 'end', { xattrs: { 'user.a': 'b' } }),
])

async function openCache(dir: string): Promise<Cache> {
  return Cache.open({ dir: join(dir, 'cache') })
}

/** What of the cache counts: everything but directories, locks and marks of use. */
function cached(cache: Cache): string[] {
  return readdirSync(cache.root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(cache.root.length + 1))
    .filter((path) => /^(layers|archives|tmp)\//.test(path))
    .map((path) => path.replace(/[0-9a-f]{64}/g, 'X'))
    .sort()
}

async function contentOf(device: LayerDevice): Promise<Buffer> {
  const bytes = Buffer.alloc(device.size)
  await device.read(bytes, 0)
  await device.close()
  return bytes
}

const rows = ({ toc }: Pick<IndexedLayer, 'toc'>): string[] =>
  toc.entries.map(({ type, path }) => `${type} ${path}`)

const ROWS = [
  'directory ',
  'file etc/passwd',
  'file big',
  'whiteout gone',
  'hardlink link',
  'symlink usr',
  'file last',
]
const CACHED_LAYER = ['data', 'data.map', 'digests', 'toc'].map((name) => `layers/sha256-X/${name}`)

t.test('indexLayer() goes by the bytes, whatever the media type says', async (t) => {
  for (const kind of ['none', 'gzip', 'zstd'] as const) {
    for (const mediaType of ['tar', 'tar+gzip', 'tar+zstd']) {
      const skip = kind === 'zstd' && zstdMissing()
      t.test(`${kind} as ${mediaType}`, { skip }, async (t) => {
        const dir = t.testdir()
        const cache = await openCache(dir)
        const blob = writeBlob(join(dir, 'blob'), compress(TAR, kind), {
          tar: TAR,
          around: 777,
          mediaType: `application/vnd.oci.image.layer.v1.${mediaType}`,
        })
        const layer = await indexLayer(blob, { cache })
        t.equal(layer.layerId, sha256(TAR))
        t.equal(layer.verification, kind === 'none' ? 'pending' : 'verified')
        t.strictSame(rows(layer), ROWS)
        t.equal(layer.toc.deviceSize, TAR.length)
        t.ok((await contentOf(await layer.openDevice())).equals(TAR), 'the device is the tar')
        t.strictSame(cached(cache), kind === 'none' ? [] : CACHED_LAYER)
      })
    }
  }
})

t.test('indexLayer() lists the same by hopping as by streaming', async (t) => {
  const dir = t.testdir()
  const cache = await openCache(dir)
  const members = Array.from({ length: 400 }, (_, i) =>
    file(`${i % 7}/${i}`, sampleBytes((i * 7919) % (i % 50 === 0 ? 3_000_000 : 3000))),
  )
  const tar = buildTar(members)
  const plain = await indexLayer(writeBlob(join(dir, 'plain'), tar, { around: 512 }), { cache })
  const packed = await indexLayer(
    writeBlob(join(dir, 'gz'), gzipSync(tar, { level: 1 }), { tar }),
    {
      cache,
    },
  )
  t.strictSame(plain.toc, packed.toc)
})

t.test('indexLayer() takes an empty blob for an empty layer', async (t) => {
  const dir = t.testdir()
  const cache = await openCache(dir)
  const blob = writeBlob(join(dir, 'blob'), Buffer.alloc(0), { digest: undefined })
  const layer = await indexLayer(blob, { cache })
  t.strictSame(layer.toc, { entries: [], notes: [], deviceSize: 0 })
  await verifyLayer(blob, { cache, toc: layer.toc })
  t.equal((await findIndexedLayer(blob, cache))?.verification, 'verified')
})

t.test('findIndexedLayer() knows a layer only after its bytes were hashed', async (t) => {
  const dir = t.testdir()
  const cache = await openCache(dir)
  const plain = writeBlob(join(dir, 'plain'), TAR)
  const packed = writeBlob(join(dir, 'packed'), gzipSync(TAR), { tar: TAR })
  const other = writeBlob(join(dir, 'other'), TAR, { around: 10, digest: undefined })
  t.equal(await findIndexedLayer(plain, cache), undefined)
  const layer = await indexLayer(plain, { cache })
  t.equal(await findIndexedLayer(plain, cache), undefined, 'listed only')
  await verifyLayer(plain, { cache, toc: layer.toc })
  const known = await findIndexedLayer(plain, cache)
  t.equal(known?.verification, 'verified')
  t.strictSame(await known?.loadToc(), layer.toc)
  t.strictSame(cached(cache), ['archives/X', 'layers/sha256-X/toc'])
  t.equal(await findIndexedLayer(other, cache), undefined, 'other bytes, though equal')
  t.equal(await findIndexedLayer(packed, cache), undefined, 'no data yet')
  await indexLayer(packed, { cache })
  for (const blob of [plain, packed, other]) {
    t.ok((await contentOf(await (await findIndexedLayer(blob, cache))!.openDevice())).equals(TAR))
  }
})

t.test('in place, a layer is where its file has it, or refused', async (t) => {
  const dir = t.testdir()
  const cache = await openCache(dir)
  const plain = writeBlob(join(dir, 'plain'), TAR, { around: 512, digest: undefined })
  const packed = writeBlob(join(dir, 'packed'), gzipSync(TAR), { tar: TAR })
  await indexLayer(packed, { cache })
  const inPlace = { cache, inPlace: true }
  t.equal(await findIndexedLayer(plain, cache, inPlace), undefined)
  const device = await (await indexLayer(plain, inPlace)).openDevice()
  t.match(device.native(0), { kind: 'region', offset: 512, size: TAR.length })
  await device.close()
  const refusal = { code: 'IMAGE_UNSUPPORTED', message: /it is packed with gzip/ }
  await t.rejects(indexLayer(packed, inPlace), refusal)
})

t.test('findIndexedLayer() makes again what was lost from the cache', async (t) => {
  const dir = t.testdir()
  const cache = await openCache(dir)
  const plain = writeBlob(join(dir, 'plain'), TAR)
  const { toc } = await indexLayer(plain, { cache })
  await verifyLayer(plain, { cache, toc })
  const second = await Cache.open({ dir: join(dir, 'second') })
  const packed = writeBlob(join(dir, 'packed'), gzipSync(TAR), { tar: TAR })
  await indexLayer(packed, { cache: second })
  for (const { blob, store } of [
    { blob: plain, store: cache },
    { blob: packed, store: second },
  ]) {
    rmSync(store.tocPath(blob.diffId))
    const known = await findIndexedLayer(blob, store)
    t.strictSame(await known?.loadToc(), toc)
    t.ok(existsSync(store.tocPath(blob.diffId)), 'and stored')
    writeFileSync(store.tocPath(blob.diffId), 'garbage')
    t.strictSame(await known?.loadToc(), toc)
  }
  const known = await findIndexedLayer(packed, second)
  writeFileSync(join(second.layerPath(packed.diffId), 'data.map'), 'garbage')
  t.ok((await contentOf(await known!.openDevice())).equals(TAR))
})

t.test(
  'indexLayer() uses a cached toc for other bytes of the same DiffID, which stay pending',
  async (t) => {
    const dir = t.testdir()
    const cache = await openCache(dir)
    const first = writeBlob(join(dir, 'first'), TAR)
    const { toc } = await indexLayer(first, { cache })
    await verifyLayer(first, { cache, toc })
    const wrong = Buffer.from(TAR)
    wrong.fill(0, 0, 512)
    const blob = writeBlob(join(dir, 'wrong'), wrong, { tar: TAR, digest: undefined })
    const layer = await indexLayer(blob, { cache })
    t.equal(layer.verification, 'pending')
    t.strictSame(layer.toc, toc, 'though its own bytes list nothing')
    await t.rejects(verifyLayer(blob, { cache, toc }), { code: 'DIGEST_MISMATCH' })
    const short = writeBlob(join(dir, 'short'), TAR.subarray(0, 2048), {
      tar: TAR,
      digest: undefined,
    })
    await t.rejects(indexLayer(short, { cache }), { code: 'SIZE_MISMATCH' })
  },
)

t.test('indexLayer() refuses what is not what the image says, and leaves nothing', async (t) => {
  const gzip = gzipSync(TAR)
  const flip = (bytes: Buffer, at: number): Buffer => {
    const flipped = Buffer.from(bytes)
    flipped.writeUInt8(flipped.readUInt8(at) ^ 1, at)
    return flipped
  }
  const other = Buffer.from('something else')
  const text = Buffer.from('x'.repeat(999))
  const cut = TAR.subarray(0, 3000)
  const mismatch = { code: 'DIGEST_MISMATCH' }
  // `tar` gives the DiffID; without a `digest` the blob has that of its own bytes.
  const cases: readonly {
    name: string
    stored: Buffer
    tar: Buffer
    digest?: string | undefined
    want: { code: string; cause?: { code: string } }
  }[] = [
    { name: 'wrong digest', stored: gzip, tar: TAR, digest: sha256(other), want: mismatch },
    { name: 'wrong DiffID', stored: gzip, tar: other, want: mismatch },
    {
      name: 'wrong DiffID, no digest',
      stored: gzip,
      tar: other,
      digest: undefined,
      want: mismatch,
    },
    {
      name: 'a flipped bit',
      stored: flip(gzip, 5000),
      tar: TAR,
      digest: sha256(gzip),
      want: { ...mismatch, cause: { code: 'LAYER_CORRUPT' } },
    },
    {
      name: 'a flipped bit, no digest',
      stored: flip(gzip, 5000),
      tar: TAR,
      digest: undefined,
      want: { code: 'LAYER_CORRUPT' },
    },
    { name: 'a cut gzip', stored: gzip.subarray(0, -9), tar: TAR, want: { code: 'LAYER_CORRUPT' } },
    { name: 'no tar in a gzip', stored: gzipSync(text), tar: text, want: { code: 'TAR_CORRUPT' } },
    { name: 'a cut tar', stored: cut, tar: cut, want: { code: 'TAR_CORRUPT' } },
    {
      name: 'a cut tar with the DiffID of the whole',
      stored: cut,
      tar: TAR,
      digest: undefined,
      want: { ...mismatch, cause: { code: 'TAR_CORRUPT' } },
    },
    // Checklist B-143: told before a byte was hashed.
    { name: 'a plain blob with another digest', stored: TAR, tar: other, want: mismatch },
  ]
  for (const { name, stored, want, ...rest } of cases) {
    t.test(name, async (t) => {
      const dir = t.testdir()
      const cache = await openCache(dir)
      await t.rejects(indexLayer(writeBlob(join(dir, 'blob'), stored, rest), { cache }), want)
      t.strictSame(cached(cache), [])
    })
  }
  const blob = writeBlob(join(t.testdir(), 'blob'), TAR)
  const diffId = `blake3:${'0'.repeat(64)}` as Digest
  const cache = await openCache(t.testdirName)
  await t.rejects(indexLayer({ ...blob, diffId }, { cache }), { code: 'IMAGE_UNSUPPORTED' })
})

t.test('indexLayer() says which compression it cannot read', async (t) => {
  for (const tool of ['bzip2', 'xz']) {
    t.test(tool, { skip: toolMissing(tool) }, async (t) => {
      const dir = t.testdir()
      const blob = writeBlob(join(dir, 'blob'), filter(tool, ['-c'], Buffer.from('x')))
      await t.rejects(indexLayer(blob, { cache: await openCache(dir) }), {
        code: 'COMPRESSION_UNSUPPORTED',
        message: new RegExp(`packed with ${tool}; only gzip and zstd are supported$`),
      })
    })
  }
})

t.test('indexLayer() refuses a file that is another one than was found', async (t) => {
  for (const stored of [TAR, gzipSync(TAR)]) {
    const dir = t.testdir()
    const cache = await openCache(dir)
    const path = join(dir, 'blob')
    const blob = writeBlob(path, stored, { tar: TAR })
    truncateSync(path, stored.length - 1)
    await t.rejects(indexLayer(blob, { cache }), { code: 'SOURCE_CHANGED' })
    rmSync(path)
    await t.rejects(indexLayer(blob, { cache }), { code: 'SOURCE_CHANGED' })
    t.strictSame(cached(cache), [])
  }
})

t.test('indexLayer() keeps to its limits', async (t) => {
  const dir = t.testdir()
  const cache = await openCache(dir)
  const blob = writeBlob(join(dir, 'blob'), gzipSync(TAR), { tar: TAR })
  for (const limits of [{ maxUncompressed: 1_000_000 }, { maxEntries: 3 }]) {
    await t.rejects(indexLayer(blob, { cache, limits }), { code: 'LIMIT_EXCEEDED' })
  }
  t.strictSame(cached(cache), [])
})

t.test('indexLayer() reports progress and stops when told', async (t) => {
  const dir = t.testdir()
  const cache = await openCache(dir)
  const tar = buildTar([file('big', Buffer.alloc(60_000_000))])
  const blob = writeBlob(join(dir, 'blob'), gzipSync(tar, { level: 0 }), { tar })
  const controller = new AbortController()
  const onProgress = (): void => {
    controller.abort()
  }
  const stopped = indexLayer(blob, { cache, onProgress, signal: controller.signal })
  await t.rejects(stopped, { code: 'INTERRUPTED' })
  t.strictSame(cached(cache), [])
  await t.rejects(indexLayer(blob, { cache, signal: AbortSignal.abort() }), { code: 'INTERRUPTED' })
  const seen: number[] = []
  await indexLayer(blob, {
    cache,
    onProgress: ({ done, total }) => {
      seen.push(done)
      if (total !== blob.region.length) t.fail('another total')
    },
  })
  t.strictSame(
    seen,
    [...seen].sort((a, b) => a - b),
  )
  t.equal(seen.at(-1), blob.region.length)
})

t.test('indexLayer() does the work once for many callers', async (t) => {
  const dir = t.testdir()
  const cache = await openCache(dir)
  const tar = buildTar([file('big', sampleBytes(8_000_000))])
  const blob = writeBlob(join(dir, 'blob'), gzipSync(tar, { level: 1 }), { tar })
  let passes = 0
  const layers = await Promise.all(
    Array.from({ length: 5 }, () => {
      let isCounted = false
      const onProgress = (): void => {
        if (!isCounted) passes++
        isCounted = true
      }
      return indexLayer(blob, { cache, onProgress })
    }),
  )
  t.equal(passes, 1)
  for (const layer of layers) t.strictSame(layer.toc, layers[0]?.toc)
  t.strictSame(cached(cache), CACHED_LAYER)
})

t.test('indexLayer() starts over after a process that was killed in the middle', async (t) => {
  const dir = t.testdir()
  const cache = await openCache(dir)
  const tar = buildTar([file('big', Buffer.alloc(40_000_000, 'x'))])
  const blob = writeBlob(join(dir, 'blob'), gzipSync(tar, { level: 0 }), { tar })
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('./index-child.js', import.meta.url)), cache.root, JSON.stringify(blob)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await new Promise((resolve) => child.stdout.once('data', resolve))
  child.kill('SIGKILL')
  await new Promise((resolve) => child.once('exit', resolve))
  t.equal(await findIndexedLayer(blob, cache), undefined)
  const layer = await indexLayer(blob, { cache })
  const content = await contentOf(await layer.openDevice())
  t.equal(createHash('sha256').update(content).digest('hex'), layer.layerId.slice(7))
})

t.test('indexLayer() verifies a sha512 digest beside a sha256 DiffID', async (t) => {
  const dir = t.testdir()
  const sha512 = (bytes: Buffer): string =>
    `sha512:${createHash('sha512').update(bytes).digest('hex')}`
  for (const stored of [TAR, gzipSync(TAR)]) {
    const cache = await Cache.open({ dir: join(dir, `cache${stored.length}`) })
    const right = writeBlob(join(dir, 'right'), stored, { tar: TAR, digest: sha512(stored) })
    const layer = await indexLayer(right, { cache })
    await verifyLayer({ ...right, diffId: sha256(stored) as Digest }, { cache, toc: layer.toc })
    const wrong = { ...right, digest: sha512(Buffer.from('x')) as Digest }
    const fresh = await Cache.open({ dir: join(dir, `fresh${stored.length}`) })
    const index = async (): Promise<void> => {
      const { toc, verification } = await indexLayer(wrong, { cache: fresh })
      if (verification === 'pending') await verifyLayer(wrong, { cache: fresh, toc })
    }
    await t.rejects(index(), { code: 'DIGEST_MISMATCH' })
  }
})
