// Checklist group D: archives of docker save in its two layouts, of podman and skopeo.

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import type { OcimountError } from '../../src/errors.js'
import { openImage } from '../../src/source/open-image.js'
import type { BuiltImage } from '../helpers/build-image.js'
import {
  blobPath,
  buildImage,
  buildIndex,
  compress,
  descriptorOf,
  hex,
  json,
  sha256,
} from '../helpers/build-image.js'
import type { Member } from '../helpers/tar-members.js'
import { file, packMembers, simpleLayer, writeMembers } from '../helpers/tar-members.js'
import {
  docker24Members,
  docker25Members,
  ociMembers,
  podmanMembers,
} from '../helpers/write-image.js'
import { open, replace, sample, stored, sharedCache, without } from './support.js'
import type { TestOptions } from './support.js'

const A = simpleLayer({ a: 'a\n' })
const B = simpleLayer({ b: 'b\n' })

function pack(t: Test, members: readonly Member[], prefix = ''): string {
  const path = join(t.testdir({}), 'image.tar')
  writeFileSync(path, packMembers(members, { prefix }))
  return path
}

async function layersOf(
  t: Test,
  members: readonly Member[],
  options?: TestOptions,
): Promise<Buffer[]> {
  return (await open(t, pack(t, members), options)).layers.map(stored)
}

function itemsOf(members: readonly Member[]): Record<string, unknown>[] {
  const manifest = members.find(({ path }) => path === 'manifest.json')
  if (manifest?.type !== 'file') throw new Error('no manifest.json')
  return JSON.parse(manifest.bytes.toString()) as Record<string, unknown>[]
}

t.test('D-001 D-011 manifest.json names config, tags and layers; tags may be null', async (t) => {
  const image = await open(t, pack(t, docker24Members([sample()])))
  t.equal(image.name, undefined)
  t.equal(image.layers.length, 2)
})

t.test('D-002 the config may have any name', async (t) => {
  const built = sample()
  const id = hex(built.configDigest)
  for (const name of [id, `sha256:${id}`, 'config.json', blobPath(built.configDigest), 'a/b/c']) {
    const [item] = itemsOf(docker24Members([built]))
    const members = [
      ...without(docker24Members([built]), `${id}.json`, 'manifest.json'),
      file(name, built.config),
      file('manifest.json', json([{ ...item, Config: name }])),
    ]
    const image = await open(t, pack(t, members))
    t.equal(image.configDigest, built.configDigest, name)
  }
})

t.test('D-003 a config that is not what its name says is refused', async (t) => {
  const built = sample()
  const name = `${hex(built.configDigest)}.json`
  const other = buildImage({ layers: [B, A] }).config
  const members = replace(docker24Members([built]), name, other)
  await t.rejects(open(t, pack(t, members)), {
    code: 'DIGEST_MISMATCH',
    details: { expected: built.configDigest, actual: sha256(other) },
  })
})

t.test('D-004 a layer may be a symlink to another, over several hops', async (t) => {
  const twice = buildImage({ layers: [A, B, A] })
  const members = docker24Members([twice])
  t.ok(
    members.some(({ type }) => type === 'symlink'),
    'the writer made a link',
  )
  t.strictSame(await layersOf(t, members), [A, B, A])
  const hops: Member[] = [
    ...without(docker24Members([buildImage({ layers: [A] })]), 'manifest.json'),
    { path: 'x/y/one', type: 'symlink', target: '../../z/./two' },
    { path: 'z', type: 'symlink', target: 'real' },
    { path: 'real/two', type: 'symlink', target: '../x//y/three' },
    { path: 'x/y/three', type: 'hardlink', target: './data/layer' },
    file('data/layer', A),
  ]
  const config = `${hex(buildImage({ layers: [A] }).configDigest)}.json`
  const manifest = file(
    'manifest.json',
    json([{ Config: config, RepoTags: null, Layers: ['x/y/one'] }]),
  )
  t.strictSame(await layersOf(t, [...hops, manifest]), [A])
})

t.test('D-005 hard links of a re-packed archive are followed', async (t) => {
  const members = podmanMembers([buildImage({ layers: [A, B] })])
  const layer = members.find(({ path }) => path.endsWith('.tar'))!
  const moved: Member[] = [
    { ...layer, path: 'first' },
    { path: layer.path, type: 'hardlink', target: 'first' },
    ...without(members, layer.path),
  ]
  t.strictSame(await layersOf(t, moved), [A, B])
})

t.test('D-006 A-149 links out of the archive, in circles or to nothing are refused', async (t) => {
  const built = buildImage({ layers: [A] })
  const members = podmanMembers([built])
  const name = `${hex(built.layers[0]!.diffId)}.tar`
  const cases: readonly { target: string; type?: 'hardlink'; message: RegExp }[] = [
    { target: '/etc/shadow', message: /\/etc\/shadow outside the archive/ },
    { target: '/etc/shadow', type: 'hardlink', message: /outside the archive/ },
    { target: '../../etc/shadow', message: /leads out of the archive/ },
    { target: 'a/../../etc/shadow', type: 'hardlink', message: /leads out of the archive/ },
    { target: name, message: /lead in circles/ },
    { target: name, type: 'hardlink', message: /lead in circles/ },
    { target: 'nowhere', message: /is a link to nowhere, which is missing/ },
    { target: '.', message: /Cannot use/ },
  ]
  for (const { target, type = 'symlink', message } of cases) {
    const tampered: Member[] = [...without(members, name), { path: name, type, target }]
    await t.rejects(
      open(t, pack(t, tampered)),
      { code: 'IMAGE_INVALID', message },
      `${type} ${target}`,
    )
  }
  const fifo: Member[] = [...without(members, name), { path: name, type: 'fifo' }]
  await t.rejects(open(t, pack(t, fifo)), {
    code: 'IMAGE_INVALID',
    message: /not a file but a fifo/,
  })
})

t.test('D-007 A-148 D-018 the order of members and the spelling of names are free', async (t) => {
  for (const make of [docker24Members, docker25Members, podmanMembers, ociMembers]) {
    const built = sample({ tags: ['app:1'] })
    const members = make([built])
    for (const list of [members.toReversed(), members.filter(({ type }) => type !== 'directory')]) {
      for (const prefix of ['', './', '/', './/./']) {
        const image = await open(t, pack(t, list, prefix))
        t.equal(image.configDigest, built.configDigest, `${make.name} ${prefix}`)
      }
    }
  }
})

t.test('D-018 the outer tar may be in any dialect that tar programs write', async (t) => {
  const built = sample({ tags: ['app:1'] })
  const directory = t.testdir({})
  const tree = writeMembers(join(directory, 'tree'), docker25Members([built]))
  for (const format of ['v7', 'oldgnu', 'gnu', 'ustar', 'posix']) {
    const path = join(directory, `${format}.tar`)
    execFileSync('tar', ['-cf', path, `--format=${format}`, '-C', tree, '.'])
    const image = await open(t, path)
    t.strictSame(
      image.layers.map(stored),
      built.layers.map((layer) => layer.stored),
      format,
    )
  }
})

t.test('D-008 A-113 the number of layers is that of the DiffIDs', async (t) => {
  const built = sample()
  const [item] = itemsOf(docker24Members([built]))
  const layers = item!['Layers'] as string[]
  for (const Layers of [layers.slice(1), [...layers, layers[0]], []]) {
    const members = replace(docker24Members([built]), 'manifest.json', json([{ ...item, Layers }]))
    await t.rejects(open(t, pack(t, members)), {
      code: 'IMAGE_INVALID',
      message: `Cannot use the image: it has ${Layers.length} layers, but its config names 2 DiffIDs`,
    })
  }
  for (const make of [docker25Members, ociMembers]) {
    const odd = sample({ config: { rootfs: { type: 'layers', diff_ids: [sha256(A)] } } })
    await t.rejects(open(t, pack(t, make([odd]))), { code: 'IMAGE_INVALID', message: /2 layers/ })
  }
})

t.test('D-010 a layer may be compressed: its bytes are handed over as they are', async (t) => {
  const built = buildImage({ layers: [A] })
  const zipped = compress(A, 'gzip')
  const members = replace(podmanMembers([built]), `${hex(built.layers[0]!.diffId)}.tar`, zipped)
  t.strictSame(await layersOf(t, members), [zipped])
})

t.test('a missing part is named', async (t) => {
  const built = buildImage({ layers: [A, B] })
  const members = podmanMembers([built])
  const { diffId } = built.layers[1]!
  await t.rejects(open(t, pack(t, without(members, `${hex(diffId)}.tar`))), {
    code: 'BLOB_MISSING',
    message: new RegExp(`^Cannot read layer 1 \\(${diffId}\\) .*missing`),
    details: { digest: diffId },
  })
  await t.rejects(open(t, pack(t, without(members, `${hex(built.configDigest)}.json`))), {
    code: 'IMAGE_INVALID',
    message: /config .*missing/,
  })
})

t.test('D-012 D-013 one of several images is chosen by tag, id or position', async (t) => {
  const one = buildImage({
    layers: [A],
    tags: ['busybox:latest', 'registry.example.com:5000/one:2'],
  })
  const two = buildImage({ layers: [B], tags: ['docker.io/library/two:1'] })
  const id = hex(two.configDigest)
  const cases: readonly { ref: string; want: BuiltImage }[] = [
    { ref: 'busybox', want: one },
    { ref: 'busybox:latest', want: one },
    { ref: 'docker.io/library/busybox', want: one },
    { ref: 'docker.io/busybox:latest', want: one },
    { ref: 'registry.example.com:5000/one:2', want: one },
    { ref: 'two:1', want: two },
    { ref: id, want: two },
    { ref: id.slice(0, 12), want: two },
    { ref: `sha256:${id}`, want: two },
    { ref: '@0', want: one },
    { ref: '@1', want: two },
  ]
  for (const make of [docker24Members, docker25Members, podmanMembers]) {
    const path = pack(t, make([one, two]))
    for (const { ref, want } of cases) {
      const image = await open(t, path, { ref })
      t.equal(image.configDigest, want.configDigest, `${make.name} ${ref}`)
    }
    const error = await failure(path)
    t.equal(error.code, 'IMAGE_AMBIGUOUS')
    t.match(
      error.message,
      /^Cannot choose one of 2 images in .*busybox:latest.*linux\/amd64.*two:1/,
    )
    t.match(error.message, make === docker25Members ? one.manifestDigest : one.configDigest)
    t.equal((error.details['candidates'] as string[]).length, 2)
    for (const ref of ['two', 'three', '@2', 'ffffffffffff', 'one:2', `@${sha256('nothing')}`]) {
      const missing = await failure(path, { ref })
      t.equal(missing.code, 'REFERENCE_NOT_FOUND', ref)
      t.match(missing.message, /it holds .*busybox:latest/)
    }
    for (const ref of ['@x', '@', '@sha256:12']) {
      t.equal((await failure(path, { ref })).code, 'REFERENCE_INVALID', ref)
    }
  }
})

t.test('D-012 a prefix that fits two image ids is ambiguous', async (t) => {
  // Found by counting: two configs whose digests begin alike.
  const seen = new Map<string, BuiltImage>()
  for (let n = 0; ; n++) {
    const built = buildImage({ layers: [A], config: { author: String(n) } })
    const prefix = hex(built.configDigest).slice(0, 4)
    const other = seen.get(prefix)
    seen.set(prefix, built)
    if (other === undefined) continue
    const path = pack(t, docker24Members([other, built]))
    t.equal((await failure(path, { ref: prefix })).code, 'IMAGE_AMBIGUOUS')
    const image = await open(t, path, { ref: hex(built.configDigest).slice(0, 32) })
    t.equal(image.configDigest, built.configDigest)
    return
  }
})

t.test('D-014 an archive without manifest.json is refused with a reason', async (t) => {
  const members = without(docker24Members([sample({ tags: ['a:1'] })]), 'manifest.json')
  await t.rejects(open(t, pack(t, members)), {
    code: 'IMAGE_UNSUPPORTED',
    message: /Docker 1\.9 or earlier/,
  })
})

t.test('D-015 one config listed twice is one image', async (t) => {
  const built = sample({ tags: ['a:1'] })
  const members = docker24Members([built])
  const [item] = itemsOf(members)
  const both = replace(members, 'manifest.json', json([item, { ...item, RepoTags: ['b:1'] }]))
  t.equal((await open(t, pack(t, both))).configDigest, built.configDigest)
  for (const ref of ['a:1', 'b:1', '@0', '@1']) {
    t.equal((await open(t, pack(t, both), { ref })).configDigest, built.configDigest, ref)
  }
})

t.test('D-016 a name that occurs twice is refused where it matters, and only there', async (t) => {
  const members = docker24Members([sample()])
  const layer = members.find(({ path }) => path.endsWith('layer.tar'))!
  const other = file('manifest.json', '[]')
  for (const list of [
    [...members, other],
    [other, ...members],
    [...members, layer],
    [...members, { ...layer, path: `./${layer.path}` }],
  ]) {
    await t.rejects(open(t, pack(t, list)), {
      code: 'IMAGE_INVALID',
      message: /more than one file of this name/,
    })
  }
  const directory: Member = { path: 'x', type: 'directory' }
  const harmless = [...members, file('README', '1'), file('README', '2'), directory, directory]
  t.equal((await open(t, pack(t, harmless))).layers.length, 2)
})

t.test('D-017 a document beyond all measure is refused unread', async (t) => {
  const members = docker24Members([sample()])
  const huge = Buffer.alloc(8 * 1024 * 1024 + 1, ' ')
  for (const name of [
    'manifest.json',
    members.find(({ path }) => /^[0-9a-f]{64}\.json$/.test(path))!.path,
  ]) {
    await t.rejects(
      open(t, pack(t, replace(members, name, huge))),
      { code: 'LIMIT_EXCEEDED' },
      name,
    )
  }
})

t.test(
  'D-020 D-022 D-023 D-026 an archive of Docker 25 is a layout and a docker-archive',
  async (t) => {
    for (const compression of ['none', 'gzip'] as const) {
      const built = buildImage({
        layers: [
          { tar: A, compression },
          { tar: B, compression },
        ],
        tags: ['app:1'],
      })
      const members = [...docker25Members([built]), file(blobPath(sha256('{}')), '{}')]
      const image = await open(t, pack(t, members), { ref: 'app:1' })
      t.equal(image.manifestDigest, built.manifestDigest)
      t.strictSame(
        image.layers.map(({ digest, mediaType }) => ({ digest, mediaType })),
        built.layers.map(({ digest, mediaType }) => ({ digest, mediaType })),
      )
      // The bare tag is what org.opencontainers.image.ref.name holds.
      t.equal((await open(t, pack(t, members), { ref: '1' })).manifestDigest, built.manifestDigest)
    }
  },
)

t.test('D-021 index.json and manifest.json that disagree on a tag are refused', async (t) => {
  const one = buildImage({ layers: [A], tags: ['app:1'] })
  const two = buildImage({ layers: [B], tags: ['app:1'] })
  const [, ...others] = itemsOf(docker25Members([one, two]))
  const members = replace(docker25Members([one, two]), 'manifest.json', json(others))
  const list = replace(members, 'index.json', ociIndex(docker25Members([one])))
  await t.rejects(open(t, pack(t, list)), {
    code: 'IMAGE_INVALID',
    message: /index\.json and manifest\.json mean different images by app:1/,
  })
  const tool = buildImage({ layers: [A, B], tags: ['tool:1'] })
  const [first, second] = itemsOf(docker25Members([one, tool]))
  const swapped = json([
    { ...first, RepoTags: ['tool:1'] },
    { ...second, RepoTags: ['app:1'] },
  ])
  const crossed = replace(docker25Members([one, tool]), 'manifest.json', swapped)
  for (const ref of ['app:1', 'tool:1', '@0', undefined]) {
    await t.rejects(open(t, pack(t, crossed), { ref }), {
      code: 'IMAGE_INVALID',
      message: /mean different/,
    })
  }
  // Whoever names the transport does not get around it.
  await t.rejects(open(t, `oci-archive:${pack(t, list)}`), { code: 'IMAGE_INVALID' })
})

t.test('D-021 a manifest that cannot be read is named, not taken for a disagreement', async (t) => {
  const built = buildImage({ layers: [A], tags: ['app:1'] })
  const path = blobPath(built.manifestDigest)
  const flipped = Buffer.alloc(built.manifest.length, ' ')
  await t.rejects(open(t, pack(t, replace(docker25Members([built]), path, flipped))), {
    code: 'DIGEST_MISMATCH',
  })
  await t.rejects(open(t, pack(t, without(docker25Members([built]), path))), {
    code: 'BLOB_MISSING',
  })
})

t.test('D-024 an untagged image that index.json lacks is found in manifest.json', async (t) => {
  const tagged = buildImage({ layers: [A], tags: ['app:1'] })
  const untagged = buildImage({ layers: [B] })
  const members = docker25Members([tagged, untagged])
  const path = pack(t, members)
  for (const ref of ['@1', hex(untagged.configDigest).slice(0, 12)]) {
    const image = await open(t, path, { ref })
    t.equal(image.configDigest, untagged.configDigest)
    t.strictSame(
      image.layers.map(({ digest }) => digest),
      untagged.layers.map(({ digest }) => digest),
    )
  }
  t.equal((await open(t, path, { ref: 'app:1' })).manifestDigest, tagged.manifestDigest)
  const error = await failure(path)
  t.equal(error.code, 'IMAGE_AMBIGUOUS')
  t.match(error.message, /app:1 \(@0, .*\(unnamed\) \(@1, /)
  t.strictSame(await layersOf(t, docker25Members([untagged])), [B])
})

t.test('D-025 blobs of other platforms may be missing', async (t) => {
  const arm = { os: 'linux', architecture: 'arm64' }
  const index = buildIndex({
    index: [{ layers: [B], platform: arm }, { layers: [A] }],
    tags: ['app:1'],
  })
  const [other, chosen] = index.children as BuiltImage[]
  const [item] = itemsOf(docker25Members([{ ...chosen!, tags: ['app:1'] }]))
  const missing = [other!.manifest, other!.config, other!.layers[0]!.stored].map((blob) =>
    blobPath(sha256(blob)),
  )
  const members = [...without(ociMembers([index]), ...missing), file('manifest.json', json([item]))]
  const path = pack(t, members)
  const image = await open(t, path, { platform: { os: 'linux', architecture: 'amd64' } })
  t.equal(image.configDigest, chosen!.configDigest)
  await t.rejects(open(t, path, { platform: arm }), {
    code: 'BLOB_MISSING',
    details: { digest: other!.manifestDigest },
  })
})

t.test('D-031 what podman and skopeo write', async (t) => {
  const twice = buildImage({ layers: [A, B, A], tags: ['app:1'] })
  t.strictSame(await layersOf(t, podmanMembers([twice])), [A, B, A])
})

t.test('LayerSources that contradict the stored size are refused', async (t) => {
  const built = buildImage({ layers: [A] })
  const members = docker25Members([buildImage({ layers: [B], tags: ['b:1'] }), built])
  const [first, second] = itemsOf(members)
  const { diffId, digest, mediaType } = built.layers[0]!
  const LayerSources = { [diffId]: { ...descriptorOf(mediaType, A), digest, size: A.length + 1 } }
  const list = replace(members, 'manifest.json', json([first, { ...second, LayerSources }]))
  await t.rejects(open(t, pack(t, list), { ref: '@1' }), { code: 'SIZE_MISMATCH' })
})

t.test('a sparse member is refused rather than read wrongly', async (t) => {
  const built = buildImage({ layers: [A] })
  const directory = t.testdir({})
  const tree = writeMembers(join(directory, 'tree'), podmanMembers([built]))
  const layer = join(tree, `${hex(built.layers[0]!.diffId)}.tar`)
  execFileSync('truncate', ['-s', '0', layer])
  execFileSync('truncate', ['-s', '1M', layer])
  for (const version of ['0.0', '0.1', '1.0']) {
    const path = join(directory, 'sparse.tar')
    execFileSync('tar', [
      '-cSf',
      path,
      '--format=posix',
      `--sparse-version=${version}`,
      '-C',
      tree,
      '.',
    ])
    await t.rejects(open(t, path), { code: 'IMAGE_UNSUPPORTED', message: /without --sparse/ })
  }
})

async function failure(path: string, options: TestOptions = {}): Promise<OcimountError> {
  try {
    const image = await openImage(path, { cache: await sharedCache(), ...options })
    await image.close()
  } catch (error) {
    return error as OcimountError
  }
  throw new Error(`opened ${path}`)
}

function ociIndex(members: readonly Member[]): Buffer {
  const index = members.find(({ path }) => path === 'index.json')
  if (index?.type !== 'file') throw new Error('no index.json')
  return index.bytes
}
