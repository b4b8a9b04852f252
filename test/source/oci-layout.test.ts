// Checklist A-080…A-117 as far as they need files, and A-140…A-159: layouts as directories and archives.

import { execFileSync } from 'node:child_process'
import { mkdirSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import type { OcimountError } from '../../src/errors.js'
import { openImage } from '../../src/source/open-image.js'
import {
  OCI,
  blobPath,
  buildImage,
  buildIndex,
  descriptorOf,
  hex,
  json,
  sha256,
} from '../helpers/build-image.js'
import type { BuiltImage, BuiltIndex, ImageSpec, IndexSpec } from '../helpers/build-image.js'
import type { Member } from '../helpers/tar-members.js'
import { file, packMembers, simpleLayer, writeMembers } from '../helpers/tar-members.js'
import { dirMembers, ociMembers } from '../helpers/write-image.js'
import { FOREIGN, NATIVE, open, replace, sample, sharedCache, stored, without } from './support.js'
import type { TestOptions } from './support.js'

const A = simpleLayer({ a: 'a\n' })
const B = simpleLayer({ b: 'b\n' })
const HOST = { os: 'linux', architecture: NATIVE }
const OTHER = { os: 'linux', architecture: FOREIGN }

/** Writes the same members as a directory and as an archive. */
function both(t: Test, members: readonly Member[]): readonly string[] {
  const directory = t.testdir({})
  const archive = join(directory, 'image.tar')
  writeFileSync(archive, packMembers(members))
  return [writeMembers(join(directory, 'layout'), members), archive]
}

async function rejects(
  t: Test,
  members: readonly Member[],
  want: { code: string | RegExp; message?: string | RegExp; details?: object },
  options: TestOptions = {},
): Promise<void> {
  for (const path of both(t, members)) await t.rejects(open(t, path, options), want)
}

async function idOf(
  t: Test,
  members: readonly Member[],
  options: TestOptions = {},
): Promise<string> {
  const ids = new Set<string>()
  for (const path of both(t, members)) ids.add((await open(t, path, options)).configDigest)
  return [...ids].join(' and ')
}

function withIndex(members: readonly Member[], manifests: readonly unknown[]): Member[] {
  return replace(members, 'index.json', json({ schemaVersion: 2, manifests }))
}

t.test('A-140 a part that is missing is named', async (t) => {
  const members = ociMembers([sample()])
  await rejects(t, without(members, 'index.json'), {
    code: 'IMAGE_INVALID',
    message: /its index\.json is missing/,
  })
  await rejects(t, without(members, 'oci-layout'), {
    code: 'IMAGE_INVALID',
    message: /its oci-layout file is missing/,
  })
  const bare = members.filter(({ path }) => !path.startsWith('blobs'))
  await rejects(t, bare, { code: 'BLOB_MISSING', message: /^Cannot read manifest sha256:/ })
})

t.test('A-141 the version of the layout counts, other fields do not', async (t) => {
  const members = ociMembers([sample()])
  const header = (text: string): Member[] => replace(members, 'oci-layout', Buffer.from(text))
  await rejects(t, header('{"imageLayoutVersion":"2.0.0"}'), { code: 'IMAGE_UNSUPPORTED' })
  for (const text of [
    '{"imageLayoutVersion":1}',
    '{}',
    '',
    '[]',
    '\ufeff{"imageLayoutVersion":"1.0.0"}',
  ]) {
    await rejects(t, header(text), { code: 'IMAGE_INVALID' })
  }
  await t.resolves(idOf(t, header('{"imageLayoutVersion":"1.0.0","x":[1]}')))
})

t.test('A-142 index.json must be an index', async (t) => {
  const built = sample()
  for (const bytes of [
    built.manifest,
    Buffer.from('[]'),
    Buffer.from('{"schemaVersion":2}'),
    Buffer.from('x'),
  ]) {
    await rejects(t, replace(ociMembers([built]), 'index.json', bytes), { code: 'IMAGE_INVALID' })
  }
})

t.test(
  'A-144 documents are verified before they are parsed, size first (A-043, A-044)',
  async (t) => {
    const built = sample()
    for (const { digest, bytes, what } of [
      { digest: built.manifestDigest, bytes: built.manifest, what: 'manifest' },
      { digest: built.configDigest, bytes: built.config, what: 'config' },
    ]) {
      const flipped = Buffer.from(bytes)
      flipped[0] = 0x20
      const members = ociMembers([built])
      await rejects(t, replace(members, blobPath(digest), flipped), {
        code: 'DIGEST_MISMATCH',
        message: new RegExp(`^Cannot use ${what} ${digest}: its digest is`),
      })
      for (const cut of [
        bytes.subarray(1),
        Buffer.concat([bytes, Buffer.from(' ')]),
        Buffer.alloc(0),
      ]) {
        await rejects(t, replace(members, blobPath(digest), cut), {
          code: 'SIZE_MISMATCH',
          details: { expected: bytes.length, actual: cut.length },
        })
      }
      await rejects(t, without(members, blobPath(digest)), {
        code: 'BLOB_MISSING',
        details: { digest },
      })
    }
  },
)

t.test('a layer is compared by size alone, and not read', async (t) => {
  const built = sample()
  const { digest, stored: bytes } = built.layers[1]!
  const members = ociMembers([built])
  await rejects(t, without(members, blobPath(digest)), {
    code: 'BLOB_MISSING',
    details: { digest },
  })
  await rejects(t, replace(members, blobPath(digest), bytes.subarray(512)), {
    code: 'SIZE_MISMATCH',
    message: `Cannot use layer 1 (${digest}): it has ${bytes.length - 512} bytes instead of ${bytes.length}`,
  })
  const garbage = Buffer.alloc(bytes.length, 'x')
  t.equal(await idOf(t, replace(members, blobPath(digest), garbage)), built.configDigest)
})

t.test('A-145 files that nothing refers to are fine', async (t) => {
  const built = sample()
  const extra = [
    file('manifest.json', '{"not":"a list"}'),
    file('repositories', '{}'),
    file('ingest/x', 'x'),
  ]
  t.equal(
    await idOf(t, [...ociMembers([built]), ...extra, file('blobs/sha256/zz', 'x')]),
    built.configDigest,
  )
})

t.test('A-047 A-048 embedded documents are used, when they are right', async (t) => {
  const built = sample()
  const data = (bytes: Buffer): string => bytes.toString('base64')
  const manifest = json({
    schemaVersion: 2,
    config: { ...descriptorOf(OCI.config, built.config), data: data(built.config) },
    layers: built.layers.map((layer) => descriptorOf(layer.mediaType, layer.stored)),
  })
  const entry = { ...descriptorOf(OCI.manifest, manifest), data: data(manifest) }
  const members = without(
    ociMembers([built]),
    blobPath(built.configDigest),
    blobPath(built.manifestDigest),
  )
  t.equal(await idOf(t, withIndex(members, [entry])), built.configDigest)
  const wrong = { ...entry, data: data(Buffer.alloc(manifest.length, ' ')) }
  await rejects(t, withIndex(members, [wrong]), { code: 'DIGEST_MISMATCH' })
  await rejects(t, withIndex(members, [{ ...entry, data: data(A) }]), { code: 'SIZE_MISMATCH' })
})

t.test(
  'A-150 links of a directory are followed inside it only, special files are not opened',
  async (t) => {
    const built = sample()
    const directory = t.testdir({})
    const layout = writeMembers(join(directory, 'layout'), ociMembers([built]))
    const blob = join(layout, blobPath(built.layers[0]!.digest))
    renameSync(blob, join(layout, 'moved'))
    symlinkSync('../../moved', blob)
    const image = await open(t, layout)
    t.strictSame(stored(image.layers[0]!), built.layers[0]!.stored)
    t.equal(image.layers[0]!.region.path, join(layout, 'moved'))

    renameSync(join(layout, 'moved'), join(directory, 'outside'))
    for (const target of [
      '../../../outside',
      join(directory, 'outside'),
      '/etc/hostname',
      '..',
      '/',
    ]) {
      unlinkSync(blob)
      symlinkSync(target, blob)
      await t.rejects(
        open(t, layout),
        { code: 'IMAGE_INVALID', message: /outside the image|not a regular file/ },
        target,
      )
    }
    unlinkSync(blob)
    symlinkSync(blob, blob)
    await t.rejects(open(t, layout), { code: 'IMAGE_INVALID', message: /circles/ })
    unlinkSync(blob)
    execFileSync('mkfifo', [blob])
    await t.rejects(open(t, layout), {
      code: 'IMAGE_INVALID',
      message: /not a regular file but a pipe/,
    })
    unlinkSync(blob)
    symlinkSync('/dev/zero', blob)
    await t.rejects(open(t, layout), { code: 'IMAGE_INVALID', message: /outside the image/ })
    unlinkSync(blob)
    mkdirSync(blob)
    await t.rejects(open(t, layout), { code: 'IMAGE_INVALID', message: /a directory/ })
    // The layout itself may be reached through a link: that is the user's own.
    symlinkSync(directory, join(directory, 'self'))
    await t.rejects(open(t, join(directory, 'self/layout')), { code: 'IMAGE_INVALID' })
  },
)

t.test('A-151 A-152 A-154 A-155 selection by name, digest and position', async (t) => {
  const one = sample({ tags: ['latest', 'docker.io/library/one:2'], platform: HOST })
  const two = buildImage({
    layers: [A],
    platform: HOST,
    tags: ['weird--name+x@y'],
    descriptor: { annotations: { 'io.containerd.image.name': 'quay.io/org/two:1' } },
  })
  const three = buildImage({ layers: [B], platform: HOST, tags: ['Not A Name!'] })
  const members = ociMembers([one, two, three])
  const cases: readonly { ref: string; want: BuiltImage }[] = [
    { ref: 'latest', want: one },
    { ref: 'one:2', want: one },
    { ref: 'docker.io/library/one:2', want: one },
    { ref: 'quay.io/org/two:1', want: two },
    { ref: 'weird--name+x@y', want: two },
    { ref: 'Not A Name!', want: three },
    { ref: '@0', want: one },
    { ref: '@1', want: one },
    { ref: '@2', want: two },
    { ref: '@3', want: three },
    { ref: `@${three.manifestDigest}`, want: three },
    { ref: `quay.io/org/two:1@${two.manifestDigest}`, want: two },
    { ref: hex(three.configDigest).slice(0, 16), want: three },
  ]
  for (const { ref, want } of cases)
    t.equal(await idOf(t, members, { ref }), want.configDigest, ref)
  for (const ref of [
    'one',
    '@4',
    'quay.io/org/two',
    `latest@${two.manifestDigest}`,
    `@${sha256('')}`,
  ]) {
    await rejects(
      t,
      members,
      { code: 'REFERENCE_NOT_FOUND', message: /it holds latest docker\.io/ },
      { ref },
    )
  }
  await rejects(t, members, {
    code: 'IMAGE_AMBIGUOUS',
    message: /of 3 images .*--ref: latest .*; quay\.io/,
  })
})

t.test('A-153 a name inside a nested index is no name', async (t) => {
  const named = { annotations: { 'org.opencontainers.image.ref.name': 'inner' } }
  const index = buildIndex({
    index: [{ layers: [A], platform: HOST, descriptor: named }],
    tags: ['outer'],
  })
  await rejects(t, ociMembers([index]), { code: 'REFERENCE_NOT_FOUND' }, { ref: 'inner' })
  t.equal(await idOf(t, ociMembers([index]), { ref: 'outer' }), only(index).configDigest)
})

t.test(
  'A-156 one name for several platforms is one choice, for one platform it is not',
  async (t) => {
    const here = buildImage({ layers: [A], platform: HOST, tags: ['app'] })
    const there = buildImage({ layers: [B], platform: OTHER, tags: ['app'] })
    const rival = buildImage({ layers: [B], platform: HOST, tags: ['app'] })
    for (const ref of [undefined, 'app']) {
      t.equal(await idOf(t, ociMembers([there, here]), { ref }), here.configDigest)
      t.equal(
        await idOf(t, ociMembers([there, here]), { ref, platform: OTHER }),
        there.configDigest,
      )
      await rejects(t, ociMembers([here, rival]), { code: 'IMAGE_AMBIGUOUS' }, { ref })
    }
    const unnamed = [
      { ...here, tags: [] },
      { ...there, tags: [] },
    ]
    t.equal(await idOf(t, ociMembers(unnamed)), here.configDigest)
    await rejects(t, ociMembers([here, { ...there, tags: ['other'] }]), { code: 'IMAGE_AMBIGUOUS' })
  },
)

t.test(
  'A-157 A-086 an index leads to the image of the platform, over several levels',
  async (t) => {
    const index = buildIndex({
      index: [
        { layers: [A], platform: OTHER },
        {
          index: [
            { index: [{ layers: [B], platform: HOST }] },
            { layers: [A, A], platform: { ...HOST, os: 'windows' } },
          ],
        },
      ],
    })
    const [there, nested] = index.children as [BuiltImage, BuiltIndex]
    const here = only(nested)
    const members = ociMembers([index])
    t.equal(await idOf(t, members), here.configDigest)
    t.equal(await idOf(t, members, { platform: OTHER }), there.configDigest)
    t.equal(await idOf(t, members, { ref: `@${there.manifestDigest}` }), there.configDigest)
    await rejects(
      t,
      members,
      { code: 'PLATFORM_NOT_FOUND', message: /for linux\/s390x in .*: there is linux\// },
      {
        platform: { os: 'linux', architecture: 's390x' },
      },
    )
    const flat = buildIndex({
      index: [
        { layers: [A], platform: OTHER },
        { layers: [B], platform: HOST },
      ],
    })
    t.equal(await idOf(t, dirMembers(flat)), (flat.children[1] as BuiltImage).configDigest)
    t.equal(
      await idOf(t, dirMembers(flat), { platform: OTHER }),
      (flat.children[0] as BuiltImage).configDigest,
    )
  },
)

t.test('A-084 an index of nothing', async (t) => {
  await rejects(t, ociMembers([]), { code: 'REFERENCE_NOT_FOUND', message: /it lists none/ })
  await rejects(t, ociMembers([buildIndex({ index: [] })]), {
    code: 'IMAGE_UNSUPPORTED',
    message: /no image/,
  })
})

t.test('A-086 S-15 an index bomb is refused', async (t) => {
  let deep: ImageSpec | IndexSpec = { layers: [A], platform: HOST }
  for (let level = 0; level < 8; level++) deep = { index: [deep] }
  t.equal(
    await idOf(t, ociMembers([buildIndex(deep as IndexSpec)])),
    buildImage({ layers: [A], platform: HOST }).configDigest,
  )
  await rejects(t, ociMembers([buildIndex({ index: [deep] })]), {
    code: 'LIMIT_EXCEEDED',
    message: /nests deeper than 8/,
  })
  const leaf = buildImage({ layers: [A] })
  const wide = Array.from({ length: 5000 }, (_, n) => ({
    ...leaf.descriptor,
    annotations: { n: String(n) },
  }))
  const document = json({ schemaVersion: 2, manifests: wide })
  const entry = descriptorOf(OCI.index, document)
  const members = [...ociMembers([leaf]), file(blobPath(sha256(document)), document)]
  await rejects(t, withIndex(members, [entry]), {
    code: 'LIMIT_EXCEEDED',
    message: /more than 4096/,
  })
})

t.test('A-096 an entry without a platform is judged by its config', async (t) => {
  const bare = { platform: undefined }
  const index = buildIndex({
    index: [
      { layers: [A], platform: OTHER, descriptor: bare },
      { layers: [B], platform: HOST, descriptor: bare },
    ],
  })
  const [there, here] = index.children as BuiltImage[]
  t.equal(await idOf(t, ociMembers([index])), here!.configDigest)
  t.equal(await idOf(t, ociMembers([index]), { platform: OTHER }), there!.configDigest)
})

t.test(
  'A-096 the only entry of an index, without a platform, may be for another machine',
  async (t) => {
    const bare = { platform: undefined }
    const index = buildIndex({ index: [{ layers: [A], platform: OTHER, descriptor: bare }] })
    for (const path of both(t, ociMembers([index]))) {
      const { warnings } = await open(t, path)
      t.strictSame(warnings, [`the image is for linux/${FOREIGN}, this machine is linux/${NATIVE}`])
      await t.rejects(open(t, path, { platform: HOST }), { code: 'PLATFORM_NOT_FOUND' })
    }
  },
)

t.test('A-098 an index that lies about the platform is reported', async (t) => {
  const index = buildIndex({
    index: [
      { layers: [A], platform: OTHER, descriptor: { platform: HOST } },
      { layers: [B], platform: OTHER },
    ],
  })
  for (const path of both(t, ociMembers([index]))) {
    const { warnings } = await open(t, path)
    t.strictSame(warnings, [
      `the index lists the image for linux/${NATIVE}, its config says linux/${FOREIGN}`,
    ])
  }
})

t.test('A-097 A-158 attestations and artifacts are not picked', async (t) => {
  const attestation: ImageSpec = {
    layers: [{ tar: A, mediaType: 'application/vnd.in-toto+json' }],
    platform: { os: 'unknown', architecture: 'unknown' },
    descriptor: { annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } },
  }
  const index = buildIndex({ index: [attestation, { layers: [B], platform: HOST }], tags: ['app'] })
  t.equal(await idOf(t, ociMembers([index])), (index.children[1] as BuiltImage).configDigest)
  const cosign = buildImage({
    layers: [{ tar: A, mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json' }],
    tags: ['sha256-00.sig'],
  })
  const chart = buildImage({
    layers: [{ tar: A, mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip' }],
    manifest: {
      config: descriptorOf('application/vnd.cncf.helm.config.v1+json', Buffer.from('{}')),
    },
    tags: ['chart'],
  })
  const image = sample({ tags: ['app:1'] })
  const members = [...ociMembers([cosign, chart, image]), file(blobPath(sha256('{}')), '{}')]
  t.equal(await idOf(t, members), image.configDigest)
  await rejects(
    t,
    members,
    { code: 'IMAGE_UNSUPPORTED', message: /artifact of type "application\/vnd\.cncf/ },
    { ref: 'chart' },
  )
  await rejects(
    t,
    members,
    { code: 'IMAGE_UNSUPPORTED', message: /layer 0 of type application\/vnd\.dev\.cosign/ },
    { ref: '@0' },
  )
  await rejects(t, ociMembers([cosign]), { code: 'IMAGE_UNSUPPORTED' })
})

t.test('what is no image of layers is refused with its type', async (t) => {
  const plugin = descriptorOf('application/vnd.docker.plugin.v1+json', Buffer.from('{}'))
  const empty = {
    ...descriptorOf('application/vnd.oci.empty.v1+json', Buffer.from('{}')),
    data: 'e30=',
  }
  const unknown = descriptorOf('application/vnd.example+json', Buffer.from('not json'))
  const cases: readonly { spec: Partial<ImageSpec>; message: RegExp }[] = [
    { spec: { manifest: { config: plugin } }, message: /Docker plugin/ },
    {
      spec: { manifest: { config: empty, artifactType: 'application/x' } },
      message: /artifact of type "application\/x"/,
    },
    {
      spec: { manifest: { config: unknown } },
      message: /artifact of type "application\/vnd\.example\+json"/,
    },
    {
      spec: {
        layers: [{ tar: A, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted' }],
      },
      message: /layer 0 of type .*\+encrypted: it is encrypted/,
    },
    {
      spec: { layers: [A, { tar: B, mediaType: 'application/octet-stream' }] },
      message: /layer 1 of type application\/octet-stream/,
    },
    {
      spec: { layers: [{ tar: A, mediaType: 'application/vnd.erofs.layer.v1' }] },
      message: /EROFS/,
    },
    {
      spec: {
        descriptor: { mediaType: 'application/vnd.docker.distribution.manifest.v1+prettyjws' },
      },
      message: /schema 1/,
    },
    {
      spec: { descriptor: { mediaType: 'application/vnd.oci.artifact.manifest.v1+json' } },
      message: /artifact manifest/,
    },
    { spec: { descriptor: { mediaType: 'application/xml' } }, message: /application\/xml/ },
  ]
  for (const { spec, message } of cases) {
    await rejects(t, ociMembers([sample(spec)]), { code: 'IMAGE_UNSUPPORTED', message })
  }
})

t.test('A-111 A-112 a document that could be read in two ways is refused', async (t) => {
  for (const manifest of [{ manifests: [] }, { mediaType: OCI.index }, { fsLayers: [] }]) {
    await rejects(t, ociMembers([sample({ manifest })]), { code: 'IMAGE_INVALID' })
  }
})

t.test(
  'A-114 A-115 A-116 A-117 repeated and empty layers, subjects and mixed types are fine',
  async (t) => {
    const empty = Buffer.alloc(1024)
    const subject = descriptorOf(OCI.manifest, Buffer.from('gone'))
    const built = buildImage({
      layers: [A, empty, A],
      docker: true,
      manifest: { subject, annotations: { x: 'y' } },
    })
    for (const path of both(t, ociMembers([built]))) {
      t.strictSame((await open(t, path)).layers.map(stored), [A, empty, A])
    }
  },
)

t.test('A-159 a layout from before 1.0 is recognised', async (t) => {
  const members = [...without(ociMembers([sample()]), 'index.json'), file('refs/v1', '{}')]
  await rejects(t, members, { code: 'IMAGE_UNSUPPORTED', message: /before image-spec 1\.0/ })
  await rejects(t, without(members, 'oci-layout'), {
    code: 'IMAGE_UNSUPPORTED',
    message: /before image-spec 1\.0/,
  })
})

t.test(
  'A-037 A-038 S-10 digests: sha512 is read, others are refused, no path is built from bad ones',
  async (t) => {
    const built = sample({ platform: HOST })
    const members = ociMembers([built])
    const other = {
      ...descriptorOf(OCI.manifest, built.manifest),
      platform: OTHER,
      digest: 'multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8',
    }
    t.equal(await idOf(t, withIndex(members, [built.descriptor, other])), built.configDigest)
    await rejects(t, withIndex(members, [other]), { code: /IMAGE_UNSUPPORTED|BLOB_MISSING/ })
    for (const digest of [
      'sha256:../../../etc/passwd',
      'sha256:',
      `sha256:${'A'.repeat(64)}`,
      '../x:y',
    ]) {
      await rejects(t, withIndex(members, [{ ...built.descriptor, digest }]), {
        code: 'IMAGE_INVALID',
      })
    }
  },
)

t.test('names from an image cannot write to a terminal (S-33)', async (t) => {
  const evil = sample({ tags: ['\u001b[31mred\u202e'] })
  const error = await failure(
    both(t, ociMembers([evil, buildImage({ layers: [A], tags: ['b'] })]))[0] ?? '',
  )
  t.equal(error.code, 'IMAGE_AMBIGUOUS')
  t.notMatch(
    JSON.stringify([error.message, error.details]).replaceAll('\\\\', ''),
    /\\u001b|\u202e/,
  )
})

function only(index: BuiltIndex): BuiltImage {
  const [child] = index.children
  if (child === undefined) throw new Error('an empty index')
  return child.kind === 'image' ? child : only(child)
}

async function failure(path: string): Promise<OcimountError> {
  try {
    const image = await openImage(path, { cache: await sharedCache() })
    await image.close()
  } catch (error) {
    return error as OcimountError
  }
  throw new Error(`opened ${path}`)
}
