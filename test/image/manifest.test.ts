import t from 'tap'
import { digestOf } from '../../src/image/digest.js'
import { checkDocumentSize, MAX_MANIFEST_SIZE } from '../../src/image/limits.js'
import { artifactTypeOf, notAnImageReason, parseManifest } from '../../src/image/manifest.js'
import {
  DOCKER_CONFIG,
  DOCKER_LAYER_GZIP,
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  OCI_CONFIG,
  OCI_EMPTY,
  OCI_INDEX,
  OCI_LAYER,
  OCI_LAYER_GZIP,
  OCI_LAYER_ZSTD,
  OCI_MANIFEST,
} from '../../src/image/media-types.js'

const SCHEMA_1 = 'application/vnd.docker.distribution.manifest.v1+json'
const SCHEMA_1_SIGNED = 'application/vnd.docker.distribution.manifest.v1+prettyjws'
const ARTIFACT_MANIFEST = 'application/vnd.oci.artifact.manifest.v1+json'

const descriptor = (mediaType: string, content: string): Record<string, unknown> => ({
  mediaType,
  digest: digestOf(Buffer.from(content)),
  size: content.length,
})
const CONFIG = descriptor(OCI_CONFIG, '{}')
const LAYER = descriptor(OCI_LAYER_GZIP, 'layer')
const BASE = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: CONFIG, layers: [LAYER] }
const NONE = new Map<string, string>()
const parsed = (value: Record<string, unknown>): unknown => ({ ...value, annotations: NONE })

const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const parse = (value: unknown, expected?: string): ReturnType<typeof parseManifest> =>
  parseManifest(bytes(value), expected)

t.test('parseManifest() gives config and layers, base first (A-105, A-106)', async (t) => {
  const second = descriptor(OCI_LAYER, 'second')
  const subject = descriptor(OCI_MANIFEST, 'subject')
  t.strictSame(
    parse({
      ...BASE,
      layers: [LAYER, second, LAYER],
      annotations: { a: 'b' },
      subject,
      artifactType: 'application/x',
    }),
    {
      mediaType: OCI_MANIFEST,
      annotations: new Map([['a', 'b']]),
      subject: parsed(subject),
      artifactType: 'application/x',
      warnings: [],
      config: parsed(CONFIG),
      layers: [parsed(LAYER), parsed(second), parsed(LAYER)],
    },
  )
})

t.test(
  'parseManifest() takes Docker and OCI types in any mixture (A-006, A-009, A-117)',
  async (t) => {
    const config = descriptor(DOCKER_CONFIG, '{}')
    const docker = descriptor(DOCKER_LAYER_GZIP, 'docker')
    for (const mediaType of [OCI_MANIFEST, DOCKER_MANIFEST]) {
      const manifest = parse({ ...BASE, mediaType, config, layers: [LAYER, docker] }, mediaType)
      t.equal(manifest.mediaType, mediaType)
      t.strictSame(manifest.layers, [parsed(LAYER), parsed(docker)])
      t.equal(notAnImageReason(manifest), undefined)
    }
  },
)

t.test(
  'parseManifest() takes its type from whoever fetched it where it has none (A-083)',
  async (t) => {
    const untyped = { ...BASE, mediaType: undefined }
    t.equal(parse(untyped).mediaType, OCI_MANIFEST)
    t.equal(parse(untyped, DOCKER_MANIFEST).mediaType, DOCKER_MANIFEST)
  },
)

t.test('parseManifest() accepts no layers with a warning (A-107)', async (t) => {
  const manifest = parse({ ...BASE, layers: [] })
  t.strictSame(manifest.layers, [])
  t.strictSame(manifest.warnings, ['manifest: layers is empty'])
})

t.test('parseManifest() takes the same layer twice (A-114)', async (t) => {
  t.equal(parse({ ...BASE, layers: [LAYER, LAYER] }).layers.length, 2)
})

t.test('parseManifest() lets digest algorithms differ within a document (A-054)', async (t) => {
  const layer = { ...LAYER, digest: digestOf(Buffer.from('layer'), 'sha512') }
  t.strictSame(parse({ ...BASE, layers: [layer] }).layers, [parsed(layer)])
})

t.test('parseManifest() takes unknown layer types and unknown fields (A-005, A-064)', async (t) => {
  const helm = descriptor('application/vnd.cncf.helm.chart.content.v1.tar+gzip', 'helm')
  t.strictSame(parse({ ...BASE, layers: [helm], future: [{}] }).layers, [parsed(helm)])
})

const REFUSED: [string, unknown, RegExp][] = [
  ['an array', [BASE], /Cannot parse manifest: it must be an object, not an array$/],
  [
    'a missing schemaVersion (A-105)',
    { ...BASE, schemaVersion: undefined },
    /schemaVersion is miss/,
  ],
  ['schemaVersion 1 (A-105)', { ...BASE, schemaVersion: 1 }, /schemaVersion must be the number 2$/],
  ['schemaVersion as text (A-105)', { ...BASE, schemaVersion: '2' }, /must be the number 2$/],
  ['a missing config (A-105)', { ...BASE, config: undefined }, /manifest: config is missing$/],
  ['missing layers (A-105)', { ...BASE, layers: undefined }, /manifest: layers is missing$/],
  ['null for layers (A-105)', { ...BASE, layers: null }, /manifest: layers is missing$/],
  ['layers that are an object', { ...BASE, layers: {} }, /layers must be an array, not an object$/],
  ['a layer that is null', { ...BASE, layers: [null] }, /layers\[0\] must be an object, not null$/],
  ['a mediaType that is a number', { ...BASE, mediaType: 2 }, /mediaType must be a string/],
  ['a subject that is text', { ...BASE, subject: '.nope' }, /subject must be an object/],
  ['manifests beside layers (A-111)', { ...BASE, manifests: [] }, /manifests does not belong into/],
  [
    'fsLayers (A-111)',
    { ...BASE, fsLayers: [] },
    /fsLayers does not belong into an image manifest/,
  ],
  [
    'history (A-111)',
    { ...BASE, history: [{}] },
    /history does not belong into an image manifest$/,
  ],
  ['Layers beside layers (A-062)', { ...BASE, Layers: [] }, /has "Layers", which differs from/],
  ['LAYERS in place of layers (A-062)', { ...BASE, layers: undefined, LAYERS: [] }, /in case$/],
  [
    'Manifests (A-062, A-111)',
    { ...BASE, Manifests: [] },
    /differs from "manifests" only in case$/,
  ],
  ['an annotation that is a number (A-051)', { ...BASE, annotations: { a: 1 } }, /annotations\.a /],
  [
    'one digest with two sizes (A-056)',
    { ...BASE, layers: [LAYER, { ...LAYER, size: 6 }] },
    /gives sha256:[0-9a-f]{64} the sizes 5 and 6$/,
  ],
]
for (const [name, value, message] of REFUSED) {
  t.test(`parseManifest() refuses ${name}`, async (t) => {
    t.throws(() => parse(value), { code: 'IMAGE_INVALID', message })
  })
}

t.test('parseManifest() refuses config twice, whichever a reader would take (A-061)', async (t) => {
  const text = JSON.stringify(BASE).replace('{', `{"config":${JSON.stringify(CONFIG)},`)
  t.throws(() => parseManifest(Buffer.from(text)), {
    code: 'IMAGE_INVALID',
    message: /name "config" occurs twice/,
  })
})

t.test(
  'parseManifest() refuses a document of another type than it was fetched as (A-112, S-13)',
  async (t) => {
    const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }
    t.throws(() => parse(BASE, DOCKER_MANIFEST), {
      code: 'IMAGE_INVALID',
      message: /was referred to as/,
    })
    t.throws(() => parse(BASE, OCI_INDEX), { code: 'IMAGE_INVALID' })
    t.throws(() => parse(index, OCI_MANIFEST), { code: 'IMAGE_INVALID' })
    t.throws(() => parse(index), { code: 'IMAGE_INVALID', message: /it is an image index$/ })
    t.throws(() => parse({ ...index, mediaType: undefined }, OCI_MANIFEST), {
      code: 'IMAGE_INVALID',
      message: /manifests does not belong into an image manifest$/,
    })
    t.throws(() => parse({ ...BASE, mediaType: DOCKER_MANIFEST_LIST }), {
      code: 'IMAGE_INVALID',
      message: /config does not belong into an image index$/,
    })
  },
)

const UNSUPPORTED: [string, unknown, string | undefined, RegExp][] = [
  ['schema 1 by its fields (A-012)', { schemaVersion: 1, fsLayers: [] }, undefined, /schema 1/],
  [
    'schema 1 by its type (A-012)',
    { schemaVersion: 1, mediaType: SCHEMA_1 },
    undefined,
    /schema 1/,
  ],
  [
    'signed schema 1 by how it was fetched (A-012)',
    {},
    SCHEMA_1_SIGNED,
    /Docker schema 1 manifest/,
  ],
  [
    'an artifact manifest (A-021)',
    { mediaType: ARTIFACT_MANIFEST, blobs: [] },
    undefined,
    /artifact m/,
  ],
  [
    'an artifact manifest by how it was fetched (A-021)',
    {},
    ARTIFACT_MANIFEST,
    /removed from the sp/,
  ],
  [
    'a type that is no manifest',
    { ...BASE, mediaType: 'text/plain' },
    undefined,
    /"text\/plain" is nei/,
  ],
  [
    'a layer fetched as manifest',
    BASE,
    OCI_LAYER,
    /is neither an image manifest nor an image index$/,
  ],
]
for (const [name, value, expected, message] of UNSUPPORTED) {
  t.test(`parseManifest() says that it cannot use ${name}`, async (t) => {
    t.throws(() => parse(value, expected), { code: 'IMAGE_UNSUPPORTED', message })
  })
}

t.test('parseManifest() accepts 4 MiB and refuses more than 8 (A-110)', async (t) => {
  const padded = (size: number): Buffer => {
    const value = bytes(BASE)
    return Buffer.concat([value, Buffer.alloc(size - value.length, ' ')])
  }
  t.equal(parseManifest(padded(4 * 1024 * 1024)).layers.length, 1)
  t.equal(parseManifest(padded(MAX_MANIFEST_SIZE)).layers.length, 1)
  t.throws(() => parseManifest(padded(MAX_MANIFEST_SIZE + 1)), { code: 'LIMIT_EXCEEDED' })
})

t.test('parseManifest() accepts 4 MiB of layers (A-110)', async (t) => {
  const count = Math.floor((4 * 1024 * 1024) / (JSON.stringify(LAYER).length + 1))
  const layers = Array.from({ length: count }, () => LAYER)
  t.equal(parse({ ...BASE, layers }).layers.length, count)
})

t.test('checkDocumentSize() refuses by what is announced (A-110)', async (t) => {
  checkDocumentSize(MAX_MANIFEST_SIZE, MAX_MANIFEST_SIZE, 'manifest')
  t.throws(
    () => {
      checkDocumentSize(2 ** 30, MAX_MANIFEST_SIZE, 'manifest sha256:ab')
    },
    {
      code: 'LIMIT_EXCEEDED',
      message:
        'Cannot read manifest sha256:ab: 1073741824 bytes are more than the 8388608 that such a document may have',
    },
  )
})

t.test('parseManifest() leaves the bytes as they are (A-067)', async (t) => {
  const before = Buffer.from(` ${JSON.stringify(BASE, undefined, 3)}\n`)
  const copy = Buffer.from(before)
  parseManifest(before)
  t.ok(before.equals(copy))
})

t.test(
  'notAnImageReason() tells artifacts and plugins from images (A-004, A-108, A-109)',
  async (t) => {
    const manifest = (mediaType: string, extra = {}): ReturnType<typeof parse> =>
      parse({ ...BASE, config: descriptor(mediaType, '{}'), ...extra })
    t.equal(notAnImageReason(manifest(OCI_CONFIG)), undefined)
    t.equal(
      notAnImageReason(manifest(OCI_EMPTY, { artifactType: 'application/vnd.example' })),
      'it is an artifact of type "application/vnd.example", not an image',
    )
    t.equal(
      notAnImageReason(manifest('application/vnd.cncf.helm.config.v1+json')),
      'it is an artifact of type "application/vnd.cncf.helm.config.v1+json", not an image',
    )
    t.equal(
      notAnImageReason(manifest('application/vnd.docker.plugin.v1+json')),
      'it is a Docker plugin, not an image',
    )
    t.equal(artifactTypeOf(manifest(OCI_LAYER_ZSTD)), OCI_LAYER_ZSTD)
  },
)

t.test('parseManifest() warns of an empty config without artifactType (A-108)', async (t) => {
  const value = { ...BASE, config: descriptor(OCI_EMPTY, '{}') }
  t.strictSame(parse(value).warnings, [
    'manifest: artifactType is missing, although the config is the empty one',
  ])
  t.throws(() => parseManifest(bytes(value), undefined, { strict: true }), {
    code: 'IMAGE_INVALID',
  })
})
