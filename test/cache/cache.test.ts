import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { DataFileWriter } from '../../src/cache/data-file-writer.js'
import { PieceFile } from '../../src/cache/piece-file.js'
import { digestOf, parseDigest } from '../../src/image/digest.js'
import { fillLayer, writeLayer } from './layers.js'

t.test('putBlob() stores what has the right size and digest', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const bytes = fillLayer(1, 100_000)
  for (const digest of [digestOf(bytes), digestOf(bytes, 'sha512')]) {
    t.equal(await cache.hasBlob(digest), false)
    const chunks = [bytes.subarray(0, 7), bytes.subarray(7, 7), bytes.subarray(7)]
    const path = await cache.putBlob(digest, chunks, { size: bytes.length })
    t.equal(path, cache.blobPath(digest))
    t.ok(readFileSync(path).equals(bytes))
    t.equal(await cache.hasBlob(digest), true)
    const unread = (function* (): Generator<Buffer> {
      yield t.fail('the source of a blob that is there is not read') as never
    })()
    t.equal(await cache.putBlob(digest, unread, { size: bytes.length }), path)
  }
})

t.test('putBlob() refuses everything else and leaves nothing', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const bytes = fillLayer(1, 1000)
  const digest = digestOf(bytes)
  const put = (chunks: Iterable<Buffer>, size = 1000, signal?: AbortSignal): Promise<string> =>
    cache.putBlob(digest, chunks, { size, signal })
  const endless = (function* (): Generator<Buffer> {
    for (;;) yield bytes
  })()
  await t.rejects(put(endless), { code: 'SIZE_MISMATCH' }, 'a body that does not end')
  await t.rejects(put([bytes.subarray(1)]), { code: 'SIZE_MISMATCH' }, 'a short body')
  await t.rejects(put([fillLayer(2, 1000)]), { code: 'DIGEST_MISMATCH' }, 'another body')
  await t.rejects(put([bytes], 1000, AbortSignal.abort()), { code: 'INTERRUPTED' })
  const broken = (function* (): Generator<Buffer> {
    yield bytes.subarray(0, 10)
    throw new Error('connection lost')
  })()
  await t.rejects(put(broken), { message: 'connection lost' })
  const foreign = parseDigest(`blake3:${'a'.repeat(64)}`)
  await t.rejects(cache.putBlob(foreign, [bytes], { size: 1000 }), { code: 'IMAGE_UNSUPPORTED' })
  t.strictSame(readdirSync(join(cache.root, 'blobs'), { recursive: true }), ['sha256'])
  t.strictSame(readdirSync(cache.tmpPath), [])
})

t.test(
  'publishDecodedArchive() keeps a decoded archive under the identity of its source',
  async (t) => {
    const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
    const source = { dev: '1', ino: '2', size: 3, mtimeNs: '4', ctimeNs: '5' }
    const bytes = fillLayer(1, 5000)
    const sha256 = digestOf(bytes).slice(7)
    t.equal(await cache.findDecodedArchive(source), undefined)
    // What a crash left between the two steps is replaced.
    writeFileSync(cache.decodedArchivePath(source), 'half')
    t.equal(await cache.findDecodedArchive(source), undefined)
    for (let round = 0; round < 2; round++) {
      const staging = await cache.stage()
      writeFileSync(join(staging.path, 'archive'), bytes)
      const path = await cache.publishDecodedArchive(staging, 'archive', { source, sha256 })
      await staging.remove()
      t.equal(path, cache.decodedArchivePath(source))
      t.equal(await cache.findDecodedArchive(source), path)
      t.ok(readFileSync(path).equals(bytes))
    }
    truncateSync(cache.decodedArchivePath(source), 4999)
    t.equal(await cache.findDecodedArchive(source), undefined)
    t.strictSame(readdirSync(join(cache.root, 'decoded')), [], 'a cut one is dropped')
  },
)

t.test('stage() gives a place that is gone when it is removed', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const staging = await cache.stage()
  mkdirSync(join(staging.path, 'a'))
  writeFileSync(join(staging.path, 'a', 'b'), '')
  await staging.remove()
  await staging.remove()
  t.strictSame(readdirSync(cache.tmpPath), [])
})

t.test('publish() keeps what is there and adds what is missing', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const bytes = fillLayer(1, 1_500_000)
  const layerId = digestOf(bytes)
  const directory = cache.layerPath(layerId)
  await cache.writeSealed(cache.tocPath(layerId), [Buffer.from('first')])
  // Leftovers of data without its map do not count.
  writeFileSync(join(directory, 'data'), 'torn')
  writeFileSync(join(directory, 'digests'), 'torn')
  const staging = await cache.stage()
  const writer = await DataFileWriter.create(staging.path)
  await writer.write(bytes)
  await writer.finish()
  writeFileSync(join(staging.path, 'toc'), 'second')
  t.equal(await staging.publish('.', directory), 'published')
  await staging.remove()
  t.equal((await cache.readSealed(cache.tocPath(layerId)))?.toString(), 'first')
  const file = await PieceFile.open(directory)
  const target = Buffer.alloc(bytes.length)
  await file?.read(target, 0)
  t.ok(target.equals(bytes))
  t.equal((await writeLayer(cache, bytes)).published, 'kept')
  await file?.read(target, 0)
  await file?.close()
  t.strictSame(readdirSync(directory).sort(), ['data', 'data.map', 'digests', 'toc'])
  t.strictSame(readdirSync(cache.tmpPath), [])
})

t.test('publish() refuses what is not its own', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const staging = await cache.stage()
  for (const from of ['..', '/etc/passwd', `${staging.path}x`, 'a/../..']) {
    await t.rejects(staging.publish(from, cache.rootfsPath(1, 'k')), { code: 'INTERNAL' }, from)
  }
  symlinkSync('/etc/passwd', join(staging.path, 'link'))
  await t.rejects(staging.publish('link', cache.rootfsPath(1, 'k')), { code: 'STORAGE_FAILED' })
  await t.rejects(staging.publish('missing', cache.rootfsPath(1, 'k')), { code: 'STORAGE_FAILED' })
  await staging.remove()
})

t.test('touch() notes the use once and never fails', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const path = cache.rootfsPath(1, 'k')
  await cache.touch([path, path])
  const [marker = ''] = readdirSync(join(cache.root, 'used'))
  t.equal(marker, 'rootfs,v1,k.erofs')
  execFileSync('rm', ['-r', join(cache.root, 'used')])
  await cache.touch([path])
  t.notOk(existsSync(join(cache.root, 'used')), 'not a second time')
  await cache.touch([cache.rootfsPath(1, 'l')])
  t.strictSame(readdirSync(join(cache.root, 'used')), ['rootfs,v1,l.erofs'])
})

for (const tool of ['umoci', 'skopeo'] as const) {
  const isThere = spawnSync(tool, ['--version']).status === 0
  t.test(
    `${tool} reads the cache as an image layout`,
    { skip: isThere ? false : `${tool} is not installed` },
    async (t) => {
      const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
      if (tool === 'umoci')
        t.equal(execFileSync('umoci', ['ls', '--layout', cache.root]).toString(), '')
      const put = (bytes: Buffer): Promise<string> =>
        cache.putBlob(digestOf(bytes), [bytes], { size: bytes.length })
      const describe = (mediaType: string, bytes: Buffer): object => ({
        mediaType,
        digest: digestOf(bytes),
        size: bytes.length,
      })
      const layer = Buffer.alloc(1024)
      const config = Buffer.from(
        JSON.stringify({
          architecture: 'amd64',
          os: 'linux',
          rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
        }),
      )
      const manifest = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          config: describe('application/vnd.oci.image.config.v1+json', config),
          layers: [describe('application/vnd.oci.image.layer.v1.tar', layer)],
        }),
      )
      await Promise.all([layer, config, manifest].map(put))
      const index = JSON.parse(readFileSync(join(cache.root, 'index.json'), 'utf8')) as {
        manifests: object[]
      }
      index.manifests.push({
        ...describe('application/vnd.oci.image.manifest.v1+json', manifest),
        annotations: { 'org.opencontainers.image.ref.name': 'tag' },
      })
      writeFileSync(join(cache.root, 'index.json'), JSON.stringify(index))
      if (tool === 'umoci') {
        t.equal(execFileSync('umoci', ['ls', '--layout', cache.root]).toString(), 'tag\n')
      } else {
        const copy = join(cache.root, '..', 'copy')
        execFileSync('skopeo', [
          '--insecure-policy',
          'copy',
          '-q',
          `oci:${cache.root}:tag`,
          `dir:${copy}`,
        ])
        t.ok(readFileSync(join(copy, digestOf(layer).slice(7))).equals(layer))
      }
    },
  )
}
