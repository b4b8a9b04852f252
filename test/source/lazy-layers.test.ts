// Layers that promise a table of contents: read in parts where that can be, pulled whole where it cannot, with the reason, and refused
// where somebody lies.

import { rmSync } from 'node:fs'
import { dirname } from 'node:path'
import t, { type Test } from 'tap'
import type { Cache } from '../../src/cache/cache.js'
import { buildRootfs, type Rootfs } from '../../src/rootfs/build-rootfs.js'
import { openImage } from '../../src/source/open-image.js'
import { buildImage } from '../helpers/build-image.js'
import { buildLazyLayer, type BuiltLazyLayer, type LazyLayerSpec } from '../helpers/build-stargz.js'
import { FaultRegistry, type Fault } from '../helpers/fault-registry.js'
import { sampleMembers } from '../layer/lazy.js'
import { NATIVE, testCache } from './support.js'

const registryOptions = {
  env: { HOME: '/nonexistent' },
  mirrorFiles: { registriesConf: [], registriesConfDirectories: [], hostsDirectories: [] },
  retries: { attempts: 3, firstMs: 5, longestMs: 20 },
}
const platform = { os: 'linux', architecture: NATIVE }

function lazyLayer(spec: Partial<LazyLayerSpec> = {}): BuiltLazyLayer {
  return buildLazyLayer({
    format: 'estargz',
    chunkSize: 200_000,
    members: sampleMembers(),
    ...spec,
  })
}

/** Makes the tree of an image of one layer; `fault` is what the registry does to requests for parts. */
async function build(
  t: Test,
  layer: BuiltLazyLayer,
  fault: Fault | undefined,
): Promise<{ rootfs: Rootfs; registry: FaultRegistry }> {
  const registry = await FaultRegistry.start(t, {
    fault: ({ range }) => (range === undefined ? undefined : fault),
  })
  const built = buildImage({ layers: [{ compression: 'gzip', ...layer }], platform })
  registry.push('org/app', built, 'v1')
  const cache = await testCache(t)
  const name = `${registry.host}/org/app:v1`
  const image = await openImage(name, { cache, registry: registryOptions })
  t.teardown(() => image.close())
  const rootfs = await buildRootfs(image, { cache })
  t.teardown(() => rootfs.close())
  return { rootfs, registry }
}

t.test('one that can be read in parts is', async (t) => {
  const layer = lazyLayer()
  const { rootfs, registry } = await build(t, layer, undefined)
  t.strictSame(rootfs.layers, [{ mode: 'lazy', warning: undefined }])
  t.match(rootfs.info.layerIds, [/^toc2:sha256:/])
  t.ok(registry.bytesSent < 80_000, `${registry.bytesSent} of ${layer.stored.length} bytes`)
  t.equal(rootfs.isVerified, true)
})

const FALLBACKS: {
  name: string
  layer: () => BuiltLazyLayer
  fault?: Fault
  why: RegExp | undefined
}[] = [
  {
    name: 'a server that ignores ranges',
    layer: () => lazyLayer(),
    fault: { ignoreRange: true },
    why: /layer 1 of 1 is pulled whole: its registry gives no parts of blobs/,
  },
  {
    name: 'no footer',
    layer: () => ({ ...lazyLayer(), stored: lazyLayer().stored.subarray(0, -51) }),
    why: /pulled whole: it has no footer of eStargz/,
  },
  {
    name: 'an annotation that is no digest',
    layer: () => ({
      ...lazyLayer(),
      annotations: { 'containerd.io/snapshot/stargz/toc.digest': 'sha256:x' },
    }),
    why: /pulled whole: its annotation/,
  },
  {
    name: 'a table that nobody vouches for',
    layer: () => ({ ...lazyLayer(), annotations: {} }),
    why: undefined,
  },
  {
    name: 'a table that leads out of the tree',
    layer: () => lazyLayer({ change: (entries) => [{ name: '../x', type: 'dir' }, ...entries] }),
    why: /pulled whole: its table of contents cannot be used: .*"\.\." part/,
  },
  {
    name: 'a chunk without a digest',
    layer: () =>
      lazyLayer({
        change: (entries) =>
          entries.map((entry) => ({ ...entry, chunkDigest: undefined, digest: undefined })),
      }),
    why: /pulled whole: .*a chunk without a digest/,
  },
]

for (const { name, layer, fault, why } of FALLBACKS) {
  t.test(`${name}: pulled whole, and it says so`, async (t) => {
    const { rootfs } = await build(t, layer(), fault)
    const [facts] = rootfs.layers
    t.equal(facts?.mode, 'streamed')
    if (why === undefined) t.equal(facts?.warning, undefined)
    else t.match(facts?.warning, why)
    t.match(rootfs.info.layerIds, [/^sha256:/])
  })
}

const REFUSALS: {
  name: string
  layer: () => BuiltLazyLayer
  fault?: Fault
  code: string
  why: RegExp
}[] = [
  {
    name: 'two tables of contents',
    layer: () => ({
      ...lazyLayer(),
      annotations: {
        ...lazyLayer().annotations,
        'io.github.containers.zstd-chunked.manifest-checksum': `sha256:${'0'.repeat(64)}`,
      },
    }),
    code: 'IMAGE_INVALID',
    why: /two tables of contents/,
  },
  {
    name: 'another table than the manifest names',
    layer: () => ({
      ...lazyLayer(),
      annotations: { 'containerd.io/snapshot/stargz/toc.digest': `sha256:${'0'.repeat(64)}` },
    }),
    code: 'DIGEST_MISMATCH',
    why: /Cannot use the table of contents of blob .*: its digest is/,
  },
  {
    name: 'a lying Content-Range',
    layer: () => lazyLayer(),
    fault: { contentRange: 'bytes 7-9/10' },
    code: 'REGISTRY_UNAVAILABLE',
    why: /were asked for, the answer holds "bytes 7-9\/10"/,
  },
  {
    name: 'several ranges at once',
    layer: () => lazyLayer(),
    fault: { multipart: true },
    code: 'REGISTRY_UNAVAILABLE',
    why: /several came/,
  },
  {
    name: 'a packed answer',
    layer: () => lazyLayer(),
    fault: { gzip: true },
    code: 'REGISTRY_UNAVAILABLE',
    why: /encoded as gzip/,
  },
  {
    name: 'no access to blobs',
    layer: () => lazyLayer(),
    fault: { status: 403, body: 'denied' },
    code: 'REGISTRY_DENIED',
    why: /refuses \(status 403/,
  },
]

for (const { name, layer, fault, code, why } of REFUSALS) {
  t.test(`${name}: refused`, async (t) => {
    await t.rejects(build(t, layer(), fault), { code, message: why })
  })
}

t.test('what its tree needs is asked for while the config is read, once', async (t) => {
  const config = { latencyMs: 300 }
  const registry = await FaultRegistry.start(t, {
    fault: ({ kind, range }) => (kind === 'blob' && range === undefined ? config : undefined),
  })
  const layer = lazyLayer({ chunkSize: 2000 })
  const built = buildImage({ layers: [{ compression: 'gzip', ...layer }], platform })
  registry.push('org/app', built, 'v1')
  const cache = await testCache(t)
  const name = `${registry.host}/org/app:v1`
  for (const round of ['first', 'second']) {
    registry.requests.length = 0
    const image = await openImage(name, { cache, registry: registryOptions, forTree: true })
    const early = registry.requests.filter(({ range }) => range !== undefined).length
    const rootfs = await buildRootfs(image, { cache })
    t.strictSame(rootfs.layers, [{ mode: 'lazy', warning: undefined }])
    const ranges = registry.requests.flatMap(({ range }) => range ?? [])
    t.equal(early > 0, round === 'first', `${round}: ${early}`)
    t.equal(new Set(ranges).size, ranges.length, 'none twice')
    t.ok(await cache.hasBlob(image.documentDigests?.[0] ?? image.configDigest), 'and it is kept')
    await rootfs.close()
    await image.close()
  }
})

t.test(
  'a table that was asked for early and does not come is missed by who wants it',
  async (t) => {
    const layer = lazyLayer()
    let isRefused = true
    const registry = await FaultRegistry.start(t, {
      fault: ({ range }) => (range !== undefined && isRefused ? { status: 403 } : undefined),
    })
    const built = buildImage({ layers: [{ compression: 'gzip', ...layer }], platform })
    registry.push('org/app', built, 'v1')
    const cache = await testCache(t)
    const name = `${registry.host}/org/app:v1`
    const image = await openImage(name, { cache, registry: registryOptions, forTree: true })
    t.teardown(() => image.close())
    await t.rejects(buildRootfs(image, { cache }), { code: 'REGISTRY_DENIED' })
    isRefused = false
    const rootfs = await buildRootfs(image, { cache })
    t.match(rootfs.layers, [{ mode: 'lazy' }])
    await rootfs.close()
  },
)

t.test('what the cache knew of a layer and vanishes: pulled whole, and it says so', async (t) => {
  const layer = lazyLayer()
  const registry = await FaultRegistry.start(t)
  const built = buildImage({ layers: [{ compression: 'gzip', ...layer }], platform })
  registry.push('org/app', built, 'v1')
  const cache = await testCache(t)
  const first = await openPushed(t, registry, cache)
  const [layerId = ''] = first.info.layerIds
  await first.close()
  rmSync(dirname(cache.rootfsPath(0, first.key)).replace(/v0$/, ''), { recursive: true })
  rmSync(cache.tocPath(layerId))
  // Whether parts can be had is asked for first.
  let ranges = 0
  registry.options = {
    fault: ({ range }) => (range !== undefined && ++ranges > 1 ? { ignoreRange: true } : undefined),
  }
  const again = await openPushed(t, registry, cache)
  t.match(again.layers, [
    { mode: 'streamed', warning: /is pulled whole: its registry gives no parts of blobs/ },
  ])
  t.match(again.info.layerIds, [/^sha256:/])
})

t.test('a table that the cache knows says nothing of an empty blob', async (t) => {
  const layer = lazyLayer()
  const registry = await FaultRegistry.start(t)
  const cache = await testCache(t)
  const open = async (stored: Buffer): Promise<Rootfs> => {
    const spec = { compression: 'gzip', ...layer, stored } as const
    registry.push('org/app', buildImage({ layers: [spec], platform }), 'v1')
    return openPushed(t, registry, cache)
  }
  t.match((await open(layer.stored)).layers, [{ mode: 'lazy' }])
  await t.rejects(open(Buffer.alloc(0)), { code: 'DIGEST_MISMATCH' })
})

/** Opens what is pushed as `org/app:v1`, until the test ends. */
async function openPushed(t: Test, registry: FaultRegistry, cache: Cache): Promise<Rootfs> {
  const image = await openImage(`${registry.host}/org/app:v1`, {
    cache,
    registry: registryOptions,
  })
  t.teardown(() => image.close())
  const rootfs = await buildRootfs(image, { cache })
  t.teardown(() => rootfs.close())
  return rootfs
}
