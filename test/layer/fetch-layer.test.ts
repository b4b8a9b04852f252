import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { pullBlob } from '../../src/cache/pull-blob.js'
import { OcimountError } from '../../src/errors.js'
import type { Digest, DiffId } from '../../src/image/digest.js'
import { fetchLayer } from '../../src/layer/fetch-layer.js'
import { findIndexedLayer, indexLayer } from '../../src/layer/index-layer.js'
import type { LayerBlob } from '../../src/layer/layer-blob.js'
import { nativeUnavailableReason } from '../../src/native.js'
import { compress, sha256, zstdMissing, type LayerCompression } from '../helpers/build-image.js'
import { buildTar, dir, file } from '../helpers/build-tar.js'
import { fixtureDirectory } from '../helpers/native-addon.js'
import { sampleBytes } from '../helpers/streams.js'
import { regionOf, writeBlob } from './blobs.js'

const TAR = buildTar([
  dir('./'),
  file('first', 'begin'),
  file('big', sampleBytes(3_000_000)),
  file('last', 'end'),
])
const PATHS = ['', 'first', 'big', 'last']
const FORMS = (['none', 'gzip', 'zstd'] as const).map((form) => ({
  form,
  skip: form === 'zstd' && zstdMissing(),
}))
const NOWHERE = { dev: '0', ino: '0', size: 0, mtimeNs: '0', ctimeNs: '0' }

type Read = (offset: number) => AsyncIterable<Buffer>
interface Remote {
  readonly stored: Buffer
  /** What the image says of it; default: the truth. */
  readonly digest?: string
  readonly diffId?: string
  readonly read?: Read
  readonly onMismatch?: () => Promise<boolean>
}

/** A layer that lies elsewhere, as a registry's tree describes it. */
function remote(cache: Cache, { stored, read, onMismatch, ...others }: Remote): LayerBlob {
  const digest = (others.digest ?? sha256(stored)) as Digest
  const diffId = (others.diffId ?? sha256(TAR)) as DiffId
  const path = cache.blobPath(digest)
  const size = stored.length
  const described = { digest, diffId, mediaType: 'application/octet-stream' }
  return {
    ...described,
    region: { path, offset: 0, length: size, identity: NOWHERE },
    fetch: async ({ signal, onProgress, follow }) => {
      await pullBlob(cache, digest, {
        ...{ size, signal },
        read: read ?? ((offset) => chunks(stored, offset)),
        onMismatch: onMismatch ?? (() => Promise.resolve(false)),
        onProgress: (done) => onProgress?.({ done, total: size }),
        follow:
          follow &&
          ((arriving) => {
            const region = { offset: 0, length: size, identity: NOWHERE, isArriving: true } as const
            const blob = { ...described, region: { path: arriving.path, ...region } }
            return follow({ ...arriving, blob })
          }),
      })
      return { ...described, region: regionOf(path) }
    },
  }
}

async function* chunks(bytes: Buffer, offset = 0, end = bytes.length): AsyncGenerator<Buffer> {
  for (let at = offset; at < end; at += CHUNK) {
    await new Promise(setImmediate)
    yield bytes.subarray(at, Math.min(at + CHUNK, end))
  }
}

const CHUNK = 65_000

async function testCache(t: Test): Promise<Cache> {
  return Cache.open({ dir: join(fixtureDirectory(t), 'cache') })
}

async function fetched(
  layer: LayerBlob,
  cache: Cache,
  signal?: AbortSignal,
): Promise<Awaited<ReturnType<typeof fetchLayer>>> {
  if (layer.fetch === undefined) throw new Error('it is here')
  return fetchLayer(layer.fetch, { cache, signal })
}

/** What is known of layers, and what is left of attempts to know. */
function madeOf(cache: Cache): string[] {
  return ['layers', 'blob-index', 'blobs', 'tmp']
    .map((name) => join(cache.root, name))
    .filter((path) => existsSync(path))
    .flatMap((path) => readdirSync(path, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)
}

async function checkIndexed(t: Test, blob: LayerBlob, cache: Cache): Promise<void> {
  const { toc, openDevice } = await indexLayer(blob, { cache })
  t.strictSame(
    toc.entries.map(({ path }) => String(path)),
    PATHS,
  )
  const device = await openDevice()
  const bytes = Buffer.alloc(device.size)
  await device.read(bytes, 0)
  await device.close()
  t.ok(bytes.equals(TAR), 'the bytes of the layer')
}

for (const { form, skip } of FORMS) {
  t.test(`a ${form} layer`, { skip }, async (t) => {
    const stored = compress(TAR, form)
    const half = Math.floor(stored.length / 2)

    await t.test('is indexed when it is here', async (t) => {
      const cache = await testCache(t)
      const { blob, toc } = await fetched(remote(cache, { stored }), cache)
      t.strictSame(
        toc?.entries.map(({ path }) => String(path)),
        PATHS,
      )
      if (form !== 'none') t.ok(await findIndexedLayer(blob, cache), 'and the cache knows')
      await checkIndexed(t, blob, cache)
      const again = await fetched(remote(cache, { stored }), cache)
      t.equal(
        again.toc === undefined,
        form !== 'none',
        'a plain one is hashed, unless its source says that it was',
      )
      t.match(await cache.verify(), { bad: [] })
    })

    await t.test('of which half came is taken up again', async (t) => {
      const cache = await testCache(t)
      const read = async function* (): AsyncGenerator<Buffer> {
        yield* chunks(stored, 0, half)
        throw new OcimountError('REGISTRY_UNAVAILABLE', 'gone')
      }
      await t.rejects(fetched(remote(cache, { stored, read }), cache), {
        code: 'REGISTRY_UNAVAILABLE',
      })
      t.strictSame(madeOf(cache), [], 'nothing counts')
      const offsets: number[] = []
      const rest: Read = (offset) => {
        offsets.push(offset)
        return chunks(stored, offset)
      }
      const { blob, toc } = await fetched(remote(cache, { stored, read: rest }), cache)
      t.strictSame(offsets, [half])
      t.ok(toc)
      await checkIndexed(t, blob, cache)
    })

    await t.test('of which half is here and wrong is fetched whole', async (t) => {
      const cache = await testCache(t)
      const layer = remote(cache, { stored })
      const directory = cache.partialPath(sha256(stored) as Digest)
      mkdirSync(directory, { recursive: true })
      writeFileSync(join(directory, `free-${'0'.repeat(16)}`), Buffer.alloc(half, 7))
      const { blob, toc } = await fetched(layer, cache)
      t.ok(toc)
      await checkIndexed(t, blob, cache)
    })

    await t.test('with a flipped bit is refused, or had from elsewhere', async (t) => {
      const cache = await testCache(t)
      const flipped = Buffer.from(stored)
      flipped.writeUInt8(flipped.readUInt8(half) ^ 4, half)
      const wrong: Read = (offset) => chunks(flipped, offset)
      await t.rejects(fetched(remote(cache, { stored, read: wrong }), cache), {
        code: 'DIGEST_MISMATCH',
      })
      t.strictSame(madeOf(cache), [])
      let attempts = 0
      const read: Read = (offset) => chunks(attempts++ === 0 ? flipped : stored, offset)
      const onMismatch = (): Promise<boolean> => Promise.resolve(true)
      const { blob, toc } = await fetched(remote(cache, { stored, read, onMismatch }), cache)
      t.equal(attempts, 2)
      t.ok(toc)
      await checkIndexed(t, blob, cache)
    })

    await t.test('that is another than the image says', async (t) => {
      const cache = await testCache(t)
      const diffId = sha256('another')
      const { blob, toc } = await fetched(remote(cache, { stored, diffId }), cache).catch(
        (error: unknown) => {
          t.match(error, { code: 'DIGEST_MISMATCH' })
          return { blob: undefined, toc: undefined }
        },
      )
      t.equal(toc, undefined)
      if (blob !== undefined) {
        await t.rejects(indexLayer(blob, { cache }), { code: 'DIGEST_MISMATCH' })
      }
      t.strictSame(madeOf(cache), [sha256(stored).slice('sha256:'.length)], 'the blob is right')
    })

    await t.test('that is interrupted', async (t) => {
      const cache = await testCache(t)
      const stop = new AbortController()
      const read = async function* (): AsyncGenerator<Buffer> {
        yield* chunks(stored, 0, half)
        stop.abort()
        yield stored.subarray(half)
      }
      await t.rejects(fetched(remote(cache, { stored, read }), cache, stop.signal), {
        code: 'INTERRUPTED',
      })
      t.strictSame(madeOf(cache), [])
    })
  })
}

t.test('right bytes that are no layer', async (t) => {
  const tar = Buffer.concat([TAR.subarray(0, 512), Buffer.alloc(2048, 'x'), TAR])
  for (const { form, skip } of FORMS) {
    await t.test(form, { skip }, async (t) => {
      const cache = await testCache(t)
      const stored = compress(tar, form)
      const layer = remote(cache, { stored, diffId: sha256(tar) })
      await t.rejects(fetched(layer, cache), { code: 'TAR_CORRUPT' })
      t.strictSame(madeOf(cache), [sha256(stored).slice('sha256:'.length)])
    })
  }
})

t.test('a zstd layer is unpacked while it comes', { skip: zstdMissing() }, async (t) => {
  const cache = await testCache(t)
  // Partial files and data files are written in steps of 1 MiB.
  const tar = buildTar([file('big', sampleBytes(8_000_000))])
  const stored = compress(tar, 'zstd')
  let unpacked = 0
  const read = async function* (): AsyncGenerator<Buffer> {
    yield* chunks(stored, 0, stored.length - 1)
    while ((unpacked = largestIn(cache.tmpPath)) < tar.length / 4) await sleep(5)
    yield stored.subarray(stored.length - 1)
  }
  const layer = remote(cache, { stored, diffId: sha256(tar), read })
  t.equal((await fetched(layer, cache)).toc?.entries.length, 1)
  t.ok(unpacked >= tar.length / 4)
})

function largestIn(directory: string): number {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
  return Math.max(
    0,
    ...files
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => statSync(join(parentPath, name)).size),
  )
}

t.test('layers that wait for their bytes keep nobody from working', async (t) => {
  const cache = await testCache(t)
  let goOn = (): void => undefined
  const gate = new Promise<void>((resolve) => (goOn = resolve))
  const kinds: LayerCompression[] = zstdMissing() === false ? ['gzip', 'zstd'] : ['gzip']
  // More than are fetched at a time, and more that are unpacked in workers than there are processors.
  const layers = Array.from({ length: 20 }, (_, n) => {
    const tar = buildTar([file(`own-${n}`, sampleBytes(20_000))])
    const stored = compress(tar, n < 4 ? (kinds.at(-1) ?? 'gzip') : 'gzip')
    const read = async function* (): AsyncGenerator<Buffer> {
      yield stored.subarray(0, 100)
      await gate
      yield stored.subarray(100)
    }
    return remote(cache, { stored, diffId: sha256(tar), read })
  })
  const all = Promise.all(layers.map((layer) => fetched(layer, cache)))
  const directory = fixtureDirectory(t)
  for (const form of kinds) {
    const tar = buildTar([file(form, 'local')])
    const local = writeBlob(join(directory, form), compress(tar, form), { tar })
    t.equal((await indexLayer(local, { cache })).toc.entries.length, 1)
  }
  goOn()
  for (const { blob, toc } of await all) {
    t.equal(toc?.entries.length, 1)
    t.ok(await findIndexedLayer(blob, cache))
  }
  t.match(await cache.verify(), { bad: [] })
})

t.test(
  'what a gzip layer needs besides its blob',
  { skip: nativeUnavailableReason() ?? false },
  async (t) => {
    // The index is here; of the blob, which somebody has pruned, there is nothing to find out but that it is right.
    const cache = await testCache(t)
    const stored = compress(TAR, 'gzip')
    const layer = remote(cache, { stored })
    await fetched(layer, cache)
    const index = readFileSync(cache.blobIndexPath(sha256(stored) as Digest))
    await cache.dropBlob(sha256(stored) as Digest)
    const { blob, toc } = await fetched(layer, cache)
    t.equal(toc, undefined)
    t.ok(readFileSync(cache.blobIndexPath(sha256(stored) as Digest)).equals(index))
    await checkIndexed(t, blob, cache)
  },
)
