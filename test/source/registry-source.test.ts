// Images out of registries, through the cache: what is fetched, what is kept, and what works when nobody answers.

import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import type { Cache } from '../../src/cache/cache.js'
import { parseDigest } from '../../src/image/digest.js'
import { parsePlatform } from '../../src/reference/platform.js'
import { buildRootfs, type Rootfs } from '../../src/rootfs/build-rootfs.js'
import type { Image } from '../../src/source/image.js'
import { openImage } from '../../src/source/open-image.js'
import { validateImage } from '../../src/source/validate.js'
import { buildImage, buildIndex, sha256 } from '../helpers/build-image.js'
import type { BuiltImage, LayerSpec } from '../helpers/build-image.js'
import { FaultRegistry } from '../helpers/fault-registry.js'
import { addonSkipReason } from '../helpers/native-addon.js'
import { simpleLayer } from '../helpers/tar-members.js'
import { NATIVE, testCache, type TestOptions } from './support.js'

const registryOptions = {
  env: { HOME: '/nonexistent' },
  mirrorFiles: { registriesConf: [], registriesConfDirectories: [], hostsDirectories: [] },
  retries: { attempts: 3, firstMs: 5, longestMs: 20 },
}

/** Layers that differ from call to call, in every form. */
function layers(): LayerSpec[] {
  const content = (): string => randomBytes(40_000).toString('hex')
  return [
    { tar: simpleLayer({ 'etc/': '', 'etc/a': content() }), compression: 'gzip' },
    { tar: simpleLayer({ b: content() }) },
    { tar: simpleLayer({ c: content() }), compression: 'gzip' },
  ]
}

function appImage(): BuiltImage {
  return buildImage({ layers: layers(), platform: { os: 'linux', architecture: NATIVE } })
}

async function open(
  t: Test,
  name: string,
  cache: Cache,
  options: TestOptions = {},
): Promise<Image> {
  const { platform, ...others } = options
  const image = await openImage(name, { registry: registryOptions, ...others, platform, cache })
  t.teardown(() => image.close())
  return image
}

/** Mounts without a mount: fetches, indexes and merges, and gives the number of files. */
async function build(image: Image, cache: Cache): Promise<{ inodes: number; isVerified: boolean }> {
  const rootfs = await buildRootfs(image, { cache })
  const { isVerified, info } = rootfs
  await rootfs.close()
  return { inodes: info.counts.inodes, isVerified }
}

t.test('an image is fetched once, and nothing of it before it is wanted', async (t) => {
  const registry = await FaultRegistry.start(t)
  const built = appImage()
  registry.push('org/app', built, 'v1')
  const cache = await testCache(t)
  const name = `${registry.host}/org/app:v1`
  const image = await open(t, name, cache)
  t.match(image, {
    name,
    source: { kind: 'registry', path: name },
    manifestDigest: built.manifestDigest,
  })
  t.equal(image.configDigest, built.configDigest)
  t.equal(registry.requests.length, 2, 'manifest and config')
  t.match(await build(image, cache), { isVerified: true }, 'plain layers too')
  t.equal(registry.requests.length, 5)
  const again = await open(t, `docker://${name}`, cache)
  t.match(await build(again, cache), { isVerified: true })
  t.equal(registry.requests.length, 6, 'the tag is asked for, and nothing else')
  await open(t, `${registry.host}/org/app@${built.manifestDigest}`, cache)
  t.equal(registry.requests.length, 6, 'a digest that is here needs nobody')
  for (const { digest, stored } of built.layers) {
    t.ok(readFileSync(cache.blobPath(parseDigest(digest))).equals(stored))
  }
  t.match(await cache.verify(), { bad: [] })
  t.equal(
    existsSync(join(cache.root, 'partial/sha256'))
      ? readdirSync(join(cache.root, 'partial/sha256')).length
      : 0,
    0,
  )
})

t.test('platforms', async (t) => {
  const registry = await FaultRegistry.start(t)
  const platforms = ['s390x', NATIVE, 'riscv64'].map((architecture) => ({
    layers: layers(),
    platform: { os: 'linux', architecture },
  }))
  const index = buildIndex({ index: platforms })
  registry.push('org/app', index, 'v1')
  const cache = await testCache(t)
  const name = `${registry.host}/org/app:v1`
  t.equal((await open(t, name, cache)).platform.architecture, NATIVE)
  const other = await open(t, name, cache, { platform: parsePlatform('linux/riscv64') })
  t.equal(other.platform.architecture, 'riscv64')
  const none = open(t, name, cache, { platform: parsePlatform('linux/arm/v6') })
  await t.rejects(none, { code: 'PLATFORM_NOT_FOUND' })
  t.equal(registry.count('blob'), 2, 'of the two that were opened the configs')
  const findings = await validateImage(name, { cache, registry: registryOptions })
  t.strictSame(findings, [])
  t.equal(registry.count('blob'), 5, 'the layers of one platform')
})

t.test('a tag that moves', async (t) => {
  const registry = await FaultRegistry.start(t)
  const [before, after] = [appImage(), appImage()]
  registry.push('org/app', before, 'v1')
  const cache = await testCache(t)
  const name = `${registry.host}/org/app:v1`
  const image = await open(t, name, cache)
  registry.push('org/app', after, 'v1')
  await build(image, cache)
  t.equal(image.manifestDigest, before.manifestDigest)
  t.equal((await open(t, name, cache)).manifestDigest, after.manifestDigest)
  t.equal((await open(t, name, cache, { isOffline: true })).manifestDigest, after.manifestDigest)
})

t.test('without a registry', async (t) => {
  const registry = await FaultRegistry.start(t)
  registry.push('org/app', appImage(), 'v1', 'v2')
  const cache = await testCache(t)
  const name = `${registry.host}/org/app:v1`
  const isOffline = true
  await t.rejects(open(t, name, cache, { isOffline }), {
    code: 'REFERENCE_NOT_FOUND',
    message: /--offline/,
  })
  await open(t, name, cache)
  await t.rejects(build(await open(t, name, cache, { isOffline }), cache), {
    code: 'BLOB_MISSING',
    message: /it is not in the cache, and --offline was given/,
  })
  await build(await open(t, name, cache), cache)
  const asked = registry.requests.length
  t.match(await build(await open(t, name, cache, { isOffline }), cache), { isVerified: true })
  t.equal(registry.requests.length, asked)

  registry.options = { fault: () => ({ status: 503 }) }
  t.match((await open(t, name, cache)).warnings, [
    /status 503\); using sha256:.*, which the tag meant when/,
  ])
  registry.options = { fault: () => ({ status: 404 }) }
  await t.rejects(
    open(t, name, cache),
    { code: 'REFERENCE_NOT_FOUND' },
    'a tag that is gone is gone',
  )
  registry.options = { fault: () => ({ status: 403 }) }
  await t.rejects(open(t, name, cache), { code: 'REGISTRY_DENIED' })
  await registry.stop()
  const image = await open(t, name, cache)
  t.match(image.warnings, [/the connection was refused; using sha256:/])
  t.match(await build(image, cache), { isVerified: true })
  await t.rejects(open(t, `${registry.host}/org/app:v2`, cache), { code: 'REGISTRY_UNAVAILABLE' })
})

t.test('wrong bytes are neither served nor kept', async (t) => {
  const built = appImage()
  const registry = await FaultRegistry.start(t, {
    fault: ({ path }) =>
      path.includes(built.layers[0]?.digest ?? '') ? { flipAt: 999 } : undefined,
  })
  registry.push('org/app', built, 'v1')
  const cache = await testCache(t)
  const name = `${registry.host}/org/app:v1`
  await t.rejects(build(await open(t, name, cache), cache), { code: 'DIGEST_MISMATCH' })
  t.equal(await cache.hasBlob(parseDigest(built.layers[0]?.digest ?? '')), false)
  t.strictSame(readdirSync(cache.tmpPath), [])
  registry.options = {}
  t.match(await build(await open(t, name, cache), cache), { isVerified: true })
  t.match(await cache.verify(), { bad: [] })
})

t.test('what a second connection brings is verified as well', async (t) => {
  const built = appImage()
  const digest = built.layers[1]?.digest ?? ''
  const registry = await FaultRegistry.start(t)
  registry.push('org/app', built, 'v1')
  const timeouts = { starvedMs: 100 }
  const options = { registry: { ...registryOptions, timeouts } }
  const cache = await testCache(t)
  for (const [fault, outcome] of [
    [{ flipAt: 30_000 }, 'wrong'],
    [{}, 'right'],
  ] as const) {
    const before = registry.count('blob', digest)
    registry.options = {
      fault: ({ path, repeats }) => {
        if (!path.includes(digest)) return undefined
        return repeats === before ? { stallAfter: 20_000 } : fault
      },
    }
    const image = await open(t, `${registry.host}/org/app:v1`, cache, options)
    if (outcome === 'wrong') await t.rejects(build(image, cache), { code: 'DIGEST_MISMATCH' })
    else t.match(await build(image, cache), { isVerified: true })
    t.equal(registry.count('blob', digest), before + 2, outcome)
    t.equal(await cache.hasBlob(parseDigest(digest)), outcome === 'right')
    await image.close()
  }
})

t.test('what a connection has brought is kept for the next attempt', async (t) => {
  const built = appImage()
  const [first] = built.layers
  const blob = first?.stored ?? Buffer.alloc(0)
  const half = Math.floor(blob.length / 2)
  const registry = await FaultRegistry.start(t, {
    fault: ({ path, range }) =>
      path.includes(first?.digest ?? '')
        ? range === undefined
          ? { cutAfter: half }
          : { status: 500 }
        : undefined,
  })
  registry.push('org/app', built, 'v1')
  const cache = await testCache(t)
  const name = `${registry.host}/org/app:v1`
  await t.rejects(build(await open(t, name, cache), cache), { code: 'REGISTRY_UNAVAILABLE' })
  registry.options = {}
  registry.requests.length = 0
  await build(await open(t, name, cache), cache)
  const range = registry.requests.find(({ path }) => path.includes(first?.digest ?? ''))?.range
  t.match(range, /^bytes=[1-9]\d+-$/)

  // And is not believed.
  const digest = parseDigest(first?.digest ?? '')
  await cache.dropBlob(digest)
  const partial = join(cache.partialPath(digest), `free-${'0'.repeat(16)}`)
  await cache.putBlob(digest, [blob], { size: blob.length })
  await cache.dropBlob(digest)
  const { mkdirSync } = await import('node:fs')
  mkdirSync(cache.partialPath(digest), { recursive: true })
  writeFileSync(partial, Buffer.alloc(half))
  // Without the addon what was unpacked is there, and the blob is not wanted.
  rmSync(join(cache.root, 'layers'), { recursive: true })
  await build(await open(t, name, cache), cache)
  t.ok(readFileSync(cache.blobPath(digest)).equals(blob))
})

/** Builds an image of a registry in a cache; `rot` spoils all its blobs there. */
async function rottingImage(t: Test): Promise<{
  readonly registry: FaultRegistry
  readonly cache: Cache
  readonly name: string
  readonly built: BuiltImage
  readonly rot: () => void
}> {
  const registry = await FaultRegistry.start(t)
  const built = appImage()
  registry.push('org/app', built, 'v1')
  const cache = await testCache(t)
  const name = `${registry.host}/org/app:v1`
  await build(await open(t, name, cache), cache)
  registry.requests.length = 0
  const rot = (): void => {
    for (const { digest, stored } of built.layers) {
      const bytes = Buffer.from(stored)
      bytes.writeUInt8(bytes.readUInt8(stored.length >> 1) ^ 1, stored.length >> 1)
      writeFileSync(cache.blobPath(parseDigest(digest)), bytes)
    }
  }
  return { registry, cache, name, built, rot }
}

t.test('blobs that rot in the cache are fetched again when they are indexed', async (t) => {
  const { registry, cache, name, rot } = await rottingImage(t)
  rot()
  for (const entry of ['layers', 'blob-index', 'rootfs']) {
    rmSync(join(cache.root, entry), { recursive: true, force: true })
  }
  t.match(await build(await open(t, name, cache), cache), { isVerified: true })
  t.equal(registry.count('blob'), 3)
  t.match(await cache.verify(), { bad: [] })
})

// Without the addon nothing is read from them again.
t.test('and when they are read', { skip: addonSkipReason() }, async (t) => {
  const { registry, cache, name, built, rot } = await rottingImage(t)
  const read = async (options?: TestOptions): Promise<[Rootfs, (Buffer | undefined)[]]> => {
    const rootfs = await buildRootfs(await open(t, name, cache, options), { cache })
    const contents = rootfs.devices.map(async (device) => {
      const bytes = Buffer.alloc(device.size)
      await device.read(bytes, 0)
      return bytes
    })
    const outcomes = await Promise.allSettled(contents)
    return [rootfs, outcomes.map((one) => (one.status === 'fulfilled' ? one.value : undefined))]
  }
  rot()
  registry.requests.length = 0
  const [mended, contents] = await read()
  for (const [n, { tar }] of built.layers.entries()) {
    if (n === 1) continue // The plain one was hashed before.
    t.ok(contents[n]?.equals(tar), 'what has rotted is fetched again while it is read')
    t.ok((mended.devices[n]?.fetched?.()?.fetchedBytes ?? 0) > 0)
  }
  const ranges = registry.requests.filter(({ range }) => range !== undefined)
  t.equal(ranges.length, 2, 'and nothing but that')
  await mended.close()

  for (const entry of ['layers', 'blob-index', 'rootfs']) {
    rmSync(join(cache.root, entry), { recursive: true })
  }
  await build(await open(t, name, cache), cache)
  rot()
  registry.options = { fault: ({ range }) => (range === undefined ? undefined : { flipAt: 5000 }) }
  const [rootfs, wrong] = await read()
  t.strictSame(
    wrong.map((bytes) => bytes !== undefined),
    [false, true, false],
    'neither is served',
  )
  t.match(rootfs.devices[0]?.faults?.(), [
    {
      message: /^Cannot read span 0 of layer .*; what comes when it is fetched again is wrong too$/,
    },
  ])
  await rootfs.close()
  registry.options = {}
  registry.requests.length = 0
  t.match(await build(await open(t, name, cache), cache), { isVerified: true })
  t.equal(registry.count('blob'), 2)
  t.match(await cache.verify(), { bad: [] })
})

t.test('twenty at once that share a base fetch it once', async (t) => {
  const registry = await FaultRegistry.start(t, { latencyMs: 20 })
  const base = layers()
  const images = Array.from({ length: 20 }, (_, n) =>
    buildImage({
      layers: [...base, simpleLayer({ own: String(n) })],
      platform: { os: 'linux', architecture: NATIVE },
    }),
  )
  for (const [n, image] of images.entries()) registry.push('org/app', image, `v${n}`)
  const cache = await testCache(t)
  await Promise.all(
    images.map(async (_, n) => {
      await build(await open(t, `${registry.host}/org/app:v${n}`, cache), cache)
    }),
  )
  const shared = images[0]?.layers.slice(0, 3) ?? []
  for (const { digest } of shared) t.equal(registry.count('blob', digest), 1)
  t.match(await cache.verify(), { bad: [] })
})

t.test('manifests that cannot be believed', async (t) => {
  const registry = await FaultRegistry.start(t)
  const built = appImage()
  const cache = await testCache(t)
  const put = (tag: string, bytes: string | Buffer, type?: string): void => {
    registry.pushManifest('org/app', Buffer.from(bytes), type, tag)
  }
  const tryOut = (tag: string): Promise<unknown> =>
    open(t, `${registry.host}/org/app:${tag}`, cache)
  put('confused', built.manifest, 'application/vnd.oci.image.index.v1+json')
  await t.rejects(tryOut('confused'), { code: 'IMAGE_INVALID' })
  put('broken', '{')
  await t.rejects(tryOut('broken'), { code: 'IMAGE_INVALID' })
  put('old', '{"schemaVersion":1}', 'application/vnd.docker.distribution.manifest.v1+prettyjws')
  await t.rejects(tryOut('old'), { code: 'IMAGE_UNSUPPORTED' })
  put(
    'path',
    built.manifest.toString().replaceAll(/sha256:[0-9a-f]{64}/g, 'sha256:../../../../etc/passwd'),
  )
  await t.rejects(tryOut('path'), { code: 'IMAGE_INVALID' })
  put('vague', built.manifest, 'text/plain')
  registry.pushBlob(built.config)
  t.ok(await tryOut('vague'))
  put('alone', built.manifest.toString().replace(built.configDigest, sha256('nothing')))
  await t.rejects(tryOut('alone'), { code: 'BLOB_MISSING', message: /BLOB_UNKNOWN/ })
})
