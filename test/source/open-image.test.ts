import { createReadStream, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import t from 'tap'
import { listCandidates, openImage } from '../../src/source/open-image.js'
import { buildImage, compress, zstdMissing } from '../helpers/build-image.js'
import { simpleLayer } from '../helpers/tar-members.js'
import { writeImage } from '../helpers/write-image.js'
import type { ImageForm } from '../helpers/write-image.js'
import { FOREIGN, NATIVE, open, sample, stored, testCache } from './support.js'

const FORMS: readonly { form: ImageForm; kind: string; hasManifest: boolean; name?: string }[] = [
  { form: 'oci', kind: 'oci', hasManifest: true, name: 'app:1' },
  { form: 'oci-archive', kind: 'oci-archive', hasManifest: true, name: 'app:1' },
  { form: 'docker-24', kind: 'docker-archive', hasManifest: false, name: 'app:1' },
  { form: 'docker-24-extracted', kind: 'docker-archive', hasManifest: false, name: 'app:1' },
  { form: 'docker-25', kind: 'docker-archive', hasManifest: true, name: 'docker.io/library/app:1' },
  { form: 'podman', kind: 'docker-archive', hasManifest: false, name: 'docker.io/library/app:1' },
  { form: 'dir', kind: 'dir', hasManifest: true },
]

t.test('openImage() opens every form with the same config and layers', async (t) => {
  const base = simpleLayer({ 'etc/': '', 'etc/name': 'base\n' })
  const built = buildImage({
    layers: [base, { tar: simpleLayer({ x: 'upper\n' }), compression: 'gzip' }],
    tags: ['app:1'],
    platform: { os: 'linux', architecture: NATIVE },
  })
  for (const { form, kind, hasManifest, name } of FORMS) {
    await t.test(form, async (t) => {
      const path = writeImage(join(t.testdir({}), 'misnamed.zip'), [built], { form })
      const image = await open(t, path)
      t.strictSame(image.source, { kind, path })
      t.equal(image.name, name)
      t.equal(image.configDigest, built.configDigest)
      t.strictSame(image.configBytes, built.config)
      t.strictSame(
        image.config.diffIds,
        built.layers.map((layer) => layer.diffId),
      )
      t.strictSame(image.platform, { os: 'linux', architecture: NATIVE })
      t.equal(image.manifestDigest, hasManifest ? built.manifestDigest : undefined)
      t.strictSame(image.manifestBytes, hasManifest ? built.manifest : undefined)
      const isPlain = form.startsWith('docker-24') || form === 'podman'
      t.strictSame(
        image.layers.map((layer) => ({
          diffId: layer.diffId,
          digest: layer.digest,
          bytes: stored(layer),
        })),
        built.layers.map((layer) => ({
          diffId: layer.diffId,
          digest: isPlain ? undefined : layer.digest,
          bytes: isPlain ? layer.tar : layer.stored,
        })),
      )
      t.strictSame(image.warnings, [])
    })
  }
})

t.test('openImage() opens an image without layers (A-107)', async (t) => {
  for (const { form } of FORMS) {
    const built = buildImage({ layers: [] })
    const path = writeImage(join(t.testdir({}), form), [built], { form })
    const image = await open(t, path)
    t.strictSame(image.layers, [], form)
  }
})

t.test('openImage() opens an image of another system with a warning (A-101, A-136)', async (t) => {
  const platform = { os: 'windows', architecture: FOREIGN }
  for (const form of ['oci-archive', 'docker-24'] as const) {
    const built = sample({ platform, config: { 'os.version': '10.0.17763.1' } })
    const path = writeImage(join(t.testdir({}), form), [built], { form })
    const image = await open(t, path)
    t.strictSame(image.platform, { ...platform, osVersion: '10.0.17763.1' })
    t.match(image.warnings, [
      `the image is for windows(10.0.17763.1)/${FOREIGN}, this machine is linux/${NATIVE}`,
    ])
    const wanted = { os: 'linux', architecture: NATIVE }
    await t.rejects(open(t, path, { platform: wanted }), {
      code: 'PLATFORM_NOT_FOUND',
      message: /there is windows/,
      details: { platforms: [`windows(10.0.17763.1)/${FOREIGN}`] },
    })
  }
})

t.test('openImage() keeps the identity of the file, whatever becomes of its path', async (t) => {
  const path = writeImage(join(t.testdir({}), 'a.tar'), [sample()], { form: 'docker-24' })
  const image = await open(t, path)
  const [layer] = image.layers
  t.equal(layer?.region.path, path)
  t.equal(layer?.region.identity.size, statSync(path).size)
})

t.test('openImage() takes an existing path before a registry name', async (t) => {
  const directory = t.testdir({})
  writeImage(join(directory, 'busybox'), [sample()], { form: 'oci' })
  writeImage(join(directory, 'docker-archive:x'), [sample()], { form: 'oci' })
  const cwd = process.cwd()
  t.teardown(() => {
    process.chdir(cwd)
  })
  process.chdir(directory)
  const image = await open(t, 'busybox')
  t.equal(image.layers[0]?.region.path.startsWith(directory), true, 'regions have absolute paths')
  await open(t, 'docker-archive:x')
  await open(t, relative(directory, join(directory, 'busybox')))
  const isOffline = true
  await t.rejects(open(t, 'alpine:3', { isOffline }), {
    code: 'REFERENCE_NOT_FOUND',
    message: /^Cannot open docker.io\/library\/alpine:3: it is not in the cache/,
  })
  await t.rejects(open(t, 'docker://busybox', { isOffline }), { code: 'REFERENCE_NOT_FOUND' })
  await t.rejects(open(t, 'missing.tar'), { code: 'FILE_NOT_FOUND', message: /missing\.tar/ })
  await t.rejects(open(t, './missing'), { code: 'FILE_NOT_FOUND' })
  await t.rejects(open(t, '/dev/null/x'), { code: 'FILE_NOT_FOUND' })
  await t.rejects(open(t, ''), { code: 'REFERENCE_INVALID' })
})

t.test('openImage() honours prefixes and their selectors (D-033, D-045, D-046)', async (t) => {
  const one = sample({ tags: ['one:1'] })
  const two = sample({ tags: ['two:1'], config: { author: 'two' } })
  const directory = t.testdir({})
  const archive = writeImage(join(directory, 'd.tar'), [one, two], { form: 'docker-25' })
  const legacy = writeImage(join(directory, 'l.tar'), [one, two], { form: 'docker-24' })
  const layout = writeImage(join(directory, 'layout'), [one, two], { form: 'oci' })
  const flat = writeImage(join(directory, 'flat'), [one], { form: 'dir' })
  const cases: readonly { reference: string; want: typeof one; kind: string }[] = [
    { reference: `docker-archive:${archive}:two:1`, want: two, kind: 'docker-archive' },
    { reference: `docker-archive:${archive}:@1`, want: two, kind: 'docker-archive' },
    { reference: `oci-archive:${archive}:docker.io/library/one:1`, want: one, kind: 'oci-archive' },
    { reference: `oci-archive:${archive}:@0`, want: one, kind: 'oci-archive' },
    {
      reference: `docker-archive:${legacy}:docker.io/library/two:1`,
      want: two,
      kind: 'docker-archive',
    },
    { reference: `oci:${layout}:two:1`, want: two, kind: 'oci' },
    { reference: `oci:${layout}:@${one.manifestDigest}`, want: one, kind: 'oci' },
    { reference: `dir:${flat}`, want: one, kind: 'dir' },
  ]
  for (const { reference, want, kind } of cases) {
    const image = await open(t, reference)
    t.strictSame(
      { id: image.configDigest, kind: image.source.kind },
      { id: want.configDigest, kind },
      reference.replace(directory, ''),
    )
  }
  for (const reference of [
    `oci-archive:${legacy}`,
    `oci:${flat}`,
    `dir:${layout}`,
    `docker-archive:${flat}`,
  ]) {
    await t.rejects(open(t, reference), { code: 'IMAGE_INVALID', message: /^Cannot use .* as/ })
  }
  await t.rejects(open(t, 'docker-daemon:app'), { code: 'IMAGE_UNSUPPORTED' })
})

t.test(
  'openImage() decompresses a wrapped archive once (D-041)',
  { skip: zstdMissing() },
  async (t) => {
    const built = sample({ tags: ['app:1'] })
    for (const wrap of ['gzip', 'zstd'] as const) {
      for (const form of ['oci-archive', 'docker-24', 'docker-25', 'podman'] as const) {
        const cache = await testCache(t)
        const path = writeImage(join(t.testdir({}), 'a.tar'), [built], { form, wrap })
        let reports = 0
        const onProgress = (): void => {
          reports++
        }
        const image = await open(t, path, { cache, onProgress })
        t.equal(image.configDigest, built.configDigest, `${wrap} ${form}`)
        t.strictSame(
          image.layers.map(stored),
          built.layers.map((layer) => layer.tar),
        )
        t.equal(image.source.path, path, 'the name is that of the compressed file')
        t.ok(reports > 0, 'progress was reported')
        reports = 0
        const again = await open(t, path, { cache, onProgress })
        t.strictSame(again.layers, image.layers, 'the second time it is the same file')
        t.equal(reports, 0, 'nothing is decompressed the second time')
      }
    }
  },
)

t.test('openImage() spools standard input (D-042)', async (t) => {
  const built = sample({ tags: ['app:1'] })
  const path = writeImage(join(t.testdir({}), 'a.tar'), [built], { form: 'docker-24' })
  const zipped = `${path}.gz`
  writeFileSync(zipped, compress(await readAll(path), 'gzip'))
  const cache = await testCache(t)
  const seen: string[] = []
  for (const source of [path, zipped]) {
    const image = await open(t, '-', { cache, stdin: createReadStream(source) })
    t.strictSame(image.source, { kind: 'docker-archive', path: 'standard input' })
    t.strictSame(
      image.layers.map(stored),
      built.layers.map((layer) => layer.tar),
    )
    seen.push(image.layers[0]?.region.path ?? '')
  }
  t.equal(seen[0], seen[1], 'equal content is stored once')
  await t.rejects(open(t, '-', { cache, stdin: createReadStream(path), maxBytes: 4096 }), {
    code: 'LIMIT_EXCEEDED',
    message: /standard input/,
  })
  await t.rejects(open(t, '-', { cache, stdin: createReadStream(zipped), maxBytes: 4096 }), {
    code: 'LIMIT_EXCEEDED',
  })
  const abort = new AbortController()
  abort.abort()
  const stdin = createReadStream(path)
  await t.rejects(open(t, '-', { cache, stdin, signal: abort.signal }), { code: 'INTERRUPTED' })
})

t.test('listCandidates() lists what there is, artifacts included', async (t) => {
  const one = sample({ tags: ['one:1', 'uno:1'] })
  const artifact = sample({
    manifest: { artifactType: 'application/x', config: EMPTY },
    tags: ['sig'],
  })
  const path = writeImage(join(t.testdir({}), 'layout'), [one, artifact], { form: 'oci' })
  t.strictSame(await listCandidates(path, { cache: await testCache(t) }), [
    {
      selector: '@0',
      names: ['one:1', 'uno:1'],
      digest: one.manifestDigest,
      imageIds: [one.configDigest],
      platforms: [{ os: 'linux', architecture: 'amd64' }],
      kind: 'image',
    },
    {
      selector: '@2',
      names: ['sig'],
      digest: artifact.manifestDigest,
      imageIds: [],
      platforms: [],
      kind: 'artifact',
    },
  ])
})

t.test('openImage() takes a parsed reference as it is', async (t) => {
  const path = writeImage(join(t.testdir({}), 'a.tar'), [sample()], { form: 'docker-24' })
  const image = await openImage({ kind: 'path', path }, { cache: await testCache(t) })
  await image.close()
  t.equal(image.source.path, path)
})

const EMPTY = {
  mediaType: 'application/vnd.oci.empty.v1+json',
  digest: 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
  size: 2,
  data: 'e30=',
}

async function readAll(path: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of createReadStream(path)) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
