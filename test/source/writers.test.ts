// Archives by other programs: skopeo and umoci as independent writers, and the real images of the corpora.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { gzipSync } from 'node:zlib'
import { sha256, compress, zstdMissing } from '../helpers/build-image.js'
import { simpleLayer } from '../helpers/tar-members.js'
import { writeImage } from '../helpers/write-image.js'
import { open, sample, stored, testCache } from './support.js'

const CORPORA = join(process.env['OCIMOUNT_CORPORA'] ?? '../shared/corpora', 'images')
const noCorpora = existsSync(CORPORA) ? false : 'the corpora are not here'

function missing(program: string): string | false {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return false
  } catch {
    return `${program} is not installed`
  }
}

t.test(
  'the real layouts open with the config and layers that their documents name',
  { skip: noCorpora },
  async (t) => {
    const names = readdirSync(CORPORA).filter((name) =>
      existsSync(join(CORPORA, name, 'oci-layout')),
    )
    t.equal(names.length, 8)
    for (const name of names) {
      const path = join(CORPORA, name)
      const blob = (digest: string): Buffer =>
        readFileSync(join(path, 'blobs', digest.replace(':', '/')))
      const index = JSON.parse(readFileSync(join(path, 'index.json'), 'utf8')) as {
        manifests: { digest: string }[]
      }
      const manifestDigest = index.manifests[0]!.digest
      const manifest = JSON.parse(blob(manifestDigest).toString()) as {
        config: { digest: string }
        layers: { digest: string; size: number; mediaType: string }[]
      }
      const config = JSON.parse(blob(manifest.config.digest).toString()) as {
        rootfs: { diff_ids: string[] }
        architecture: string
        os: string
      }
      const image = await open(t, path, { ref: 'latest' })
      t.strictSame(
        {
          manifest: image.manifestDigest,
          config: image.configDigest,
          platform: `${image.platform.os}/${image.platform.architecture}`,
          layers: image.layers.map(({ digest, diffId, mediaType, region }) => ({
            digest,
            diffId,
            mediaType,
            size: region.length,
            hash: sha256(stored({ region, digest, diffId, mediaType })),
          })),
        },
        {
          manifest: manifestDigest,
          config: manifest.config.digest,
          platform: `${config.os}/${config.architecture}`,
          layers: manifest.layers.map(({ digest, mediaType, size }, n) => ({
            digest,
            diffId: config.rootfs.diff_ids[n],
            mediaType,
            size,
            hash: digest,
          })),
        },
        name,
      )
    }
  },
)

t.test(
  'the real docker archives open, every layer with its DiffID',
  { skip: noCorpora },
  async (t) => {
    const cases = [
      {
        name: 'docker-archive-14-layers.tar',
        image: 'dive-test:latest',
        layers: 14,
        id: '75ae28b8ebf89b20',
      },
      {
        name: 'docker-archive-alpine-3.10.tar.gz',
        image: 'alpine:3.10',
        layers: 1,
        id: 'af341ccd2df8b0e2',
      },
    ]
    for (const { name, image: ref, layers, id } of cases) {
      const image = await open(t, join(CORPORA, name), { ref, cache: await testCache(t) })
      t.match(image.configDigest, `sha256:${id}`)
      t.equal(image.name, ref)
      t.equal(image.layers.length, layers)
      for (const layer of image.layers) t.equal(sha256(stored(layer)), layer.diffId)
    }
  },
)

t.test('what skopeo writes opens as the same image', { skip: missing('skopeo') }, async (t) => {
  const built = sample({ tags: ['app:1'] })
  const root = t.testdir({})
  const layout = writeImage(join(root, 'layout'), [built], { form: 'oci' })
  const copy = (to: string): void => {
    execFileSync('skopeo', ['copy', '-q', '--insecure-policy', `oci:${layout}:app:1`, to], {
      stdio: 'pipe',
    })
  }
  const diffIds = built.layers.map(({ diffId }) => diffId)
  for (const { to, path, kind, ref } of [
    { to: `oci:${root}/o:x:2`, path: 'o', kind: 'oci', ref: 'x:2' },
    { to: `oci-archive:${root}/oa.tar:x:2`, path: 'oa.tar', kind: 'oci-archive', ref: 'x:2' },
    {
      to: `docker-archive:${root}/d.tar:x:2`,
      path: 'd.tar',
      kind: 'docker-archive',
      ref: 'docker.io/library/x:2',
    },
    {
      to: `docker-archive:${root}/untagged.tar`,
      path: 'untagged.tar',
      kind: 'docker-archive',
      ref: undefined,
    },
    { to: `dir:${root}/flat`, path: 'flat', kind: 'dir', ref: undefined },
  ]) {
    copy(to)
    for (const asked of [undefined, ref]) {
      const image = await open(t, join(root, path), { ref: asked })
      t.equal(image.source.kind, kind)
      t.equal(image.name, ref)
      t.strictSame(
        image.layers.map(({ diffId }) => diffId),
        diffIds,
      )
      for (const layer of image.layers) {
        t.equal(sha256(stored(layer)), layer.digest ?? layer.diffId, `${to} ${String(asked)}`)
      }
    }
  }
})

t.test(
  'several images that skopeo added to one layout are told apart',
  { skip: missing('skopeo') },
  async (t) => {
    const root = t.testdir({})
    const images = ['one', 'two', 'three'].map((author) =>
      sample({ tags: ['x'], config: { author } }),
    )
    for (const [n, built] of images.entries()) {
      const single = writeImage(join(root, `single${n}`), [built], { form: 'oci' })
      execFileSync(
        'skopeo',
        ['copy', '-q', '--insecure-policy', `oci:${single}:x`, `oci:${root}/all:tag${n}`],
        { stdio: 'pipe' },
      )
    }
    for (const [n, built] of images.entries()) {
      t.equal(
        (await open(t, join(root, 'all'), { ref: `tag${n}` })).configDigest,
        built.configDigest,
      )
      t.equal((await open(t, `oci:${root}/all:@${n}`)).configDigest, built.configDigest)
    }
    await t.rejects(open(t, join(root, 'all')), {
      code: 'IMAGE_AMBIGUOUS',
      message: /tag0 .*tag1 .*tag2/,
    })
  },
)

t.test('what umoci writes opens', { skip: missing('umoci') }, async (t) => {
  const root = t.testdir({})
  const layout = join(root, 'layout')
  const run = (...args: string[]): void => {
    execFileSync('umoci', args, { stdio: 'pipe' })
  }
  run('init', '--layout', layout)
  run('new', '--image', `${layout}:v1`)
  const empty = await open(t, layout)
  t.strictSame(empty.layers, [])
  const layer = join(root, 'layer.tar')
  writeFileSync(layer, simpleLayer({ 'etc/': '', 'etc/x': 'y' }))
  run('raw', 'add-layer', '--image', `${layout}:v1`, layer)
  run('tag', '--image', `${layout}:v1`, 'v2')
  for (const ref of ['v1', 'v2', undefined]) {
    const image = await open(t, layout, { ref })
    t.equal(image.layers.length, 1)
    t.equal(
      image.layers[0]?.diffId,
      `sha256:${createHash('sha256').update(readFileSync(layer)).digest('hex')}`,
    )
  }
  execFileSync('tar', ['-cf', join(root, 'a.tar'), '-C', layout, '.'])
  t.equal((await open(t, join(root, 'a.tar'))).layers.length, 1)
})

t.test(
  'an archive that pigz or zstd wrapped in pieces opens',
  { skip: zstdMissing() },
  async (t) => {
    const built = sample()
    const root = t.testdir({})
    const plain = readFileSync(writeImage(join(root, 'a.tar'), [built], { form: 'docker-24' }))
    const half = Math.floor(plain.length / 2)
    const pieces = [plain.subarray(0, half), plain.subarray(half)]
    const wrapped = {
      'members.gz': Buffer.concat(pieces.map((piece) => gzipSync(piece))),
      'padded.gz': Buffer.concat([gzipSync(plain), Buffer.alloc(10240)]),
      'frames.zst': Buffer.concat(pieces.map((piece) => compress(piece, 'zstd'))),
    }
    for (const [name, bytes] of Object.entries(wrapped)) {
      writeFileSync(join(root, name), bytes)
      const image = await open(t, join(root, name), { cache: await testCache(t) })
      t.strictSame(
        image.layers.map(stored),
        built.layers.map(({ tar }) => tar),
        name,
      )
    }
  },
)
