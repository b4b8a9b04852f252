import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { digestOf } from '../../src/image/digest.js'
import { parseDockerManifest } from '../../src/image/docker-archive.js'
import { MAX_DOCKER_MANIFEST_SIZE } from '../../src/image/limits.js'
import { OCI_LAYER } from '../../src/image/media-types.js'

const DIFF_ID = digestOf(Buffer.from('layer'))
const HEX = DIFF_ID.slice('sha256:'.length)
const BASE = { Config: `${HEX}.json`, RepoTags: ['busybox:latest'], Layers: [`${HEX}/layer.tar`] }
const PARSED = {
  config: BASE.Config,
  repoTags: BASE.RepoTags,
  layers: BASE.Layers,
  layerSources: new Map(),
}
const parse = (value: unknown): ReturnType<typeof parseDockerManifest> =>
  parseDockerManifest(Buffer.from(JSON.stringify(value)))

t.test('parseDockerManifest() gives every image in order (D-001)', async (t) => {
  const other = { ...BASE, Config: 'other', Parent: DIFF_ID }
  t.strictSame(parse([BASE, other]), [PARSED, { ...PARSED, config: 'other' }])
  t.strictSame(parse([]), [])
})

t.test('parseDockerManifest() takes any path for a config (D-002)', async (t) => {
  for (const Config of [`${HEX}.json`, `blobs/sha256/${HEX}`, HEX, `sha256:${HEX}`, './a b/ü']) {
    t.equal(parse([{ ...BASE, Config }])[0]?.config, Config)
  }
})

t.test('parseDockerManifest() takes null and nothing for a list (D-011, A-107)', async (t) => {
  const want = [{ ...PARSED, repoTags: [], layers: [] }]
  t.strictSame(parse([{ Config: BASE.Config, RepoTags: null, Layers: null }]), want)
  t.strictSame(parse([{ Config: BASE.Config, RepoTags: [], Layers: [] }]), want)
  t.strictSame(parse([{ Config: BASE.Config }]), want)
})

t.test(
  'parseDockerManifest() gives the descriptors of layers by DiffID (D-001, D-020)',
  async (t) => {
    const source = { mediaType: OCI_LAYER, size: 5, digest: DIFF_ID }
    t.strictSame(parse([{ ...BASE, LayerSources: { [DIFF_ID]: source } }]), [
      { ...PARSED, layerSources: new Map([[DIFF_ID, { ...source, annotations: new Map() }]]) },
    ])
  },
)

const REFUSED: [string, unknown, RegExp][] = [
  [
    'an object, as in dir:',
    BASE,
    /Cannot parse manifest\.json: it must be an array, not an object$/,
  ],
  ['an item that is text', ['x'], /manifest\.json: \[0\] must be an object/],
  ['a missing Config', [{ ...BASE, Config: undefined }], /: \[0\]\.Config is missing$/],
  ['an empty Config', [{ ...BASE, Config: '' }], /Config is an empty path$/],
  ['a Config with a NUL', [{ ...BASE, Config: 'a\0b' }], /Config is a path with a NUL$/],
  [
    'a layer that is a number',
    [BASE, { ...BASE, Layers: [1] }],
    /: \[1\]\.Layers\[0\] must be a string/,
  ],
  ['an empty layer path', [{ ...BASE, Layers: [''] }], /Layers\[0\] is an empty path$/],
  ['RepoTags that are text', [{ ...BASE, RepoTags: 'x' }], /RepoTags must be an array/],
  [
    'a source for no DiffID',
    [{ ...BASE, LayerSources: { x: {} } }],
    /LayerSources\.x is "x": it is not/,
  ],
  [
    'a source that is no descriptor',
    [{ ...BASE, LayerSources: { [DIFF_ID]: {} } }],
    /mediaType is mi/,
  ],
  [
    'config beside Config (A-062)',
    [{ ...BASE, config: 'evil' }],
    /differs from "Config" only in case$/,
  ],
]
for (const [name, value, message] of REFUSED) {
  t.test(`parseDockerManifest() refuses ${name}`, async (t) => {
    t.throws(() => parse(value), { code: 'IMAGE_INVALID', message })
  })
}

t.test('parseDockerManifest() takes 8 MiB and no more (D-017)', async (t) => {
  t.ok(parseDockerManifest(Buffer.from('[]'.padEnd(MAX_DOCKER_MANIFEST_SIZE))))
  t.throws(() => parseDockerManifest(Buffer.from('[]'.padEnd(MAX_DOCKER_MANIFEST_SIZE + 1))), {
    code: 'LIMIT_EXCEEDED',
  })
})

const IMAGES = join(process.env['OCIMOUNT_CORPORA'] ?? '../shared/corpora', 'images')
for (const [file, tag, layers] of [
  ['docker-archive-14-layers.tar', 'dive-test:latest', 14],
  ['docker-archive-alpine-3.10.tar.gz', 'alpine:3.10', 1],
] as const) {
  const archive = join(IMAGES, file)
  const skip = existsSync(archive) ? false : `no archive at ${archive}`
  t.test(
    `parseDockerManifest() reads what docker wrote into ${file} (D-001)`,
    { skip },
    async (t) => {
      const items = parseDockerManifest(execFileSync('tar', ['xOf', archive, 'manifest.json']))
      t.strictSame(
        items.map((item) => [item.repoTags, item.layers.length]),
        [[[tag], layers]],
      )
    },
  )
}
