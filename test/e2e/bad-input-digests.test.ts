// Images whose bytes are not what their documents say, and images that ocimount does not take.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Cache } from '../../src/cache/cache.js'
import {
  blobPath,
  buildImage,
  buildIndex,
  descriptorOf,
  sha256,
  type BuiltImage,
  type BuiltIndex,
  type ImageSpec,
} from '../helpers/build-image.js'
import { cacheOf, leavesNothing, refuses, type Refusal } from '../helpers/cli-checks.js'
import { cliFixture } from '../helpers/cli-fixture.js'
import { whyNoMounts } from '../helpers/run-cli.js'
import { simpleLayer } from '../helpers/tar-members.js'
import { REF_NAME, writeImage } from '../helpers/write-image.js'

const LAYER = simpleLayer({ 'etc/': '', 'etc/os-release': 'ID=test\n', data: 'x'.repeat(5000) })
const UPPER = simpleLayer({ 'etc/hostname': 'upper\n' })
const OTHER = simpleLayer({ other: 'not what was promised' })

const SPEC: ImageSpec = {
  tags: ['test'],
  layers: [
    { tar: LAYER, compression: 'gzip' },
    { tar: UPPER, compression: 'gzip' },
  ],
}
const PLAIN: ImageSpec = { tags: ['test'], layers: [LAYER, UPPER] }

interface Case {
  readonly name: string
  readonly spec?: ImageSpec
  readonly items?: readonly (BuiltImage | BuiltIndex)[]
  /** Damages the layout in `path`. */
  readonly damage?: (path: string, image: BuiltImage) => void
  readonly args?: readonly string[]
  readonly refusal: Refusal
}

const CASES: readonly Case[] = [
  {
    name: 'a flipped bit in the manifest',
    damage: (path, image) => {
      flip(join(path, blobPath(image.manifestDigest)))
    },
    refusal: { status: 5, why: /manifest sha256:[0-9a-f]+.* sha256:/ },
  },
  {
    name: 'a flipped bit in the config',
    damage: (path, image) => {
      flip(join(path, blobPath(image.configDigest)))
    },
    refusal: { status: 5, why: /config sha256:/ },
  },
  {
    name: 'a flipped bit in a gzip layer',
    damage: (path, image) => {
      flip(join(path, blobPath(image.layers[0]?.digest ?? '')))
    },
    refusal: { status: 5, why: /layer/ },
  },
  {
    name: 'a flipped bit in a plain layer, verified before',
    spec: PLAIN,
    damage: (path, image) => {
      // In the content of a file, so that nothing but the digest tells.
      flip(join(path, blobPath(image.layers[0]?.digest ?? '')), 3000)
    },
    args: ['--verify=before'],
    refusal: { status: 5, why: /layer/ },
  },
  {
    name: 'a flipped bit in the header of a plain layer',
    spec: PLAIN,
    damage: (path, image) => {
      flip(join(path, blobPath(image.layers[0]?.digest ?? '')), 3)
    },
    refusal: { status: 5, why: /layer/ },
  },
  {
    name: 'another layer than the DiffID promises',
    spec: {
      ...SPEC,
      config: { rootfs: { type: 'layers', diff_ids: [sha256(LAYER), sha256(OTHER)] } },
    },
    refusal: { status: 5, why: new RegExp(sha256(OTHER)) },
  },
  {
    name: 'two layers in the wrong order',
    spec: {
      ...SPEC,
      config: { rootfs: { type: 'layers', diff_ids: [sha256(UPPER), sha256(LAYER)] } },
    },
    refusal: { status: 5, why: /layer/ },
  },
  {
    name: 'fewer DiffIDs than layers',
    spec: { ...SPEC, config: { rootfs: { type: 'layers', diff_ids: [sha256(LAYER)] } } },
    refusal: { status: 3, why: /2 .*1|1 .*2/ },
  },
  {
    name: 'a wrong size of a layer',
    spec: manifestWith((image) => ({
      layers: image.layers.map(({ mediaType, stored, digest }) => ({
        ...{ mediaType, digest },
        size: stored.length + 1,
      })),
    })),
    refusal: { status: 5, why: /bytes/ },
  },
  {
    name: 'a wrong size of the config',
    spec: manifestWith((image) => ({
      config: {
        ...descriptorOf('application/vnd.oci.image.config.v1+json', image.config),
        size: image.config.length - 1,
      },
    })),
    refusal: { status: 5, why: /config/ },
  },
  {
    name: 'a negative size',
    spec: manifestWith((image) => ({
      config: {
        ...descriptorOf('application/vnd.oci.image.config.v1+json', image.config),
        size: -1,
      },
    })),
    refusal: { status: 3, why: /size/ },
  },
  {
    name: 'a missing manifest',
    damage: (path, image) => {
      rmSync(join(path, blobPath(image.manifestDigest)))
    },
    refusal: { status: 3, why: /manifest sha256:.*missing/ },
  },
  {
    name: 'a missing config',
    damage: (path, image) => {
      rmSync(join(path, blobPath(image.configDigest)))
    },
    refusal: { status: 3, why: /config sha256:.*missing/ },
  },
  {
    name: 'a missing layer',
    damage: (path, image) => {
      rmSync(join(path, blobPath(image.layers[1]?.digest ?? '')))
    },
    refusal: { status: 3, why: /layer 2 .*missing|layer.*missing/ },
  },
  {
    name: 'an encrypted layer',
    spec: {
      ...SPEC,
      layers: [
        {
          tar: LAYER,
          compression: 'gzip',
          mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted',
        },
      ],
    },
    refusal: { status: 3, why: /encrypted/ },
  },
  {
    name: 'a layer packed with something else',
    spec: { ...PLAIN, layers: [Buffer.from('BZh91AY&SY'.padEnd(2000, 'x'))] },
    refusal: { status: 3, why: /bzip2; only gzip and zstd are supported/ },
  },
  {
    name: 'an artifact',
    spec: {
      layers: [Buffer.from('{}')],
      manifest: {
        artifactType: 'application/vnd.example.sbom',
        config: descriptorOf('application/vnd.oci.empty.v1+json', Buffer.from('{}')),
        layers: [descriptorOf('application/spdx+json', Buffer.from('{}'))],
      },
      tags: ['test'],
    },
    refusal: { status: 3, why: /artifact/ },
  },
  {
    name: 'an image for another machine in an index, which lists what there is',
    items: [
      buildIndex({
        tags: ['test'],
        index: ['arm64', 's390x'].map((architecture) => ({
          ...SPEC,
          platform: { os: 'linux', architecture },
        })),
      }),
    ],
    args: ['--platform', 'linux/riscv64'],
    refusal: { status: 4, why: /linux\/riscv64.*linux\/arm64.*linux\/s390x/ },
  },
  {
    name: 'one image of several, when nobody says which',
    items: [
      buildImage({ ...SPEC, tags: ['one'] }),
      buildImage({ ...SPEC, tags: ['two'], layers: [UPPER] }),
    ],
    refusal: { status: 2, why: /one.*two/ },
  },
  {
    name: 'a name that is not there',
    args: ['--ref', 'nope'],
    refusal: { status: 4, why: /nope/ },
  },
]

for (const { name, spec = SPEC, items, damage, args = [], refusal } of CASES) {
  t.test(`refuses ${name}`, async (t) => {
    const fixture = cliFixture(t)
    const image = buildImage(spec)
    const path = writeImage(join(fixture.dir, 'layout'), items ?? [image], { form: 'oci' })
    damage?.(path, image)
    await Promise.all([
      refuses(t, fixture, [path, fixture.mountpoint(), ...args], refusal),
      refuses(t, fixture, ['ls', path, ...args], refusal),
    ])
    await leavesNothing(t, fixture)
    const { kinds } = await (await Cache.open({ dir: cacheOf(fixture) })).diskUsage()
    t.equal(kinds.rootfs.entries, 0, 'no tree was kept')
  })
}

t.test('validate tells everything that is wrong, not the first thing', async (t) => {
  const fixture = cliFixture(t)
  const good = buildImage({ ...SPEC, tags: ['good'] })
  const bad = buildImage({
    tags: ['bad'],
    layers: [{ tar: OTHER }, { tar: simpleLayer({ '../escape': 'x' }), compression: 'gzip' }],
  })
  const path = writeImage(join(fixture.dir, 'layout'), [good, bad], { form: 'oci' })

  const clean = await fixture.ocimount(['validate', path, '--ref', 'good'])
  t.strictSame([clean.status, clean.stdout, clean.stderr], [0, '', 'ocimount: valid\n'])

  const escaping = await fixture.ocimount(['validate', path])
  t.equal(escaping.status, 3, 'errors without a wrong digest')
  t.match(escaping.stdout, /^error: .*\.\.\/escape/m)

  flip(join(path, blobPath(bad.layers[0]?.digest ?? '')))
  rmSync(join(path, blobPath(good.layers[1]?.digest ?? '')))
  const all = await fixture.ocimount(['validate', path])
  t.equal(all.status, 5, 'a wrong digest weighs most')
  const errors = all.stdout.split('\n').filter((line) => line.startsWith('error: '))
  const found = (text: string): boolean => errors.some((line) => line.includes(text))
  t.ok(found('[DIGEST_MISMATCH]') && found('[BLOB_MISSING]') && found('../escape'), all.stdout)
  t.equal(all.stderr, `ocimount: ${errors.length} errors, 0 warnings\n`)

  const { stdout, status } = await fixture.ocimount(['validate', path, '--json'])
  const { findings } = JSON.parse(stdout) as { findings: unknown[] }
  t.equal(findings.length, errors.length, 'the same as text and as JSON')
  t.equal(status, 5)
  await leavesNothing(t, fixture)
})

t.test('validate lets warnings alone pass', async (t) => {
  const fixture = cliFixture(t)
  const image = buildImage({
    ...SPEC,
    tags: [],
    descriptor: { annotations: { [REF_NAME]: 'not a name!' } },
  })
  const path = writeImage(join(fixture.dir, 'layout'), [image], { form: 'oci' })
  const result = await fixture.ocimount(['validate', path])
  t.equal(result.status, 0, result.stdout)
  t.match(result.stdout, /^warning: /m)
})

t.test('an image for Windows mounts', { skip: whyNoMounts() }, async (t) => {
  const fixture = cliFixture(t)
  const image = buildImage({
    tags: ['win'],
    platform: { os: 'windows', architecture: 'amd64' },
    layers: [
      {
        tar: simpleLayer({ 'Files/': '', 'Files/Windows/': '', 'Files/Windows/a.ini': '[x]\r\n' }),
        compression: 'gzip',
      },
    ],
  })
  const path = writeImage(join(fixture.dir, 'layout'), [image], { form: 'oci' })
  const mountpoint = fixture.mountpoint()
  const mounted = await fixture.ocimount([path, mountpoint])
  t.equal(mounted.status, 0, mounted.stderr)
  t.match(mounted.stderr, /windows\/amd64/)
  t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
  const cat = await fixture.ocimount(['cat', path, '/Files/Windows/a.ini'])
  t.equal(cat.stdout, '[x]\r\n')
})

/** Changes one bit of a file, in the middle unless told where. */
function flip(path: string, at?: number): void {
  const bytes = readFileSync(path)
  const offset = at ?? bytes.length >> 1
  bytes[offset] = (bytes[offset] ?? 0) ^ 0x10
  writeFileSync(path, bytes)
}

/** The usual image with some fields of its manifest made from what was built. */
function manifestWith(fields: (image: BuiltImage) => Record<string, unknown>): ImageSpec {
  return { ...SPEC, manifest: fields(buildImage(SPEC)) }
}
