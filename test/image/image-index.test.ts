import t from 'tap'
import { digestOf } from '../../src/image/digest.js'
import { parseImageIndex, parseManifestOrIndex } from '../../src/image/image-index.js'
import {
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
} from '../../src/image/media-types.js'

const LEGACY_LIST = 'application/vnd.oci.image.manifest.list.v1+json'
const descriptor = (mediaType: string, content: string): Record<string, unknown> => ({
  mediaType,
  digest: digestOf(Buffer.from(content)),
  size: content.length,
})
const ENTRY = descriptor(OCI_MANIFEST, 'manifest')
const BASE = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [ENTRY] }
const parsed = (value: Record<string, unknown>): unknown => ({
  ...value,
  annotations: new Map<string, string>(),
})
const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const parse = (value: unknown, expected?: string): ReturnType<typeof parseImageIndex> =>
  parseImageIndex(bytes(value), expected)

t.test('parseImageIndex() gives the entries in order (A-085, A-100)', async (t) => {
  const subject = descriptor(OCI_MANIFEST, 'subject')
  const nested = descriptor(OCI_INDEX, 'nested')
  const platform = { os: 'linux', architecture: 'amd64' }
  t.strictSame(
    parse({
      ...BASE,
      manifests: [nested, { ...ENTRY, platform }],
      annotations: { a: 'b' },
      subject,
      artifactType: 'application/x',
    }),
    {
      mediaType: OCI_INDEX,
      annotations: new Map([['a', 'b']]),
      subject: parsed(subject),
      artifactType: 'application/x',
      warnings: [],
      manifests: [parsed(nested), parsed({ ...ENTRY, platform })],
    },
  )
})

t.test('parseImageIndex() takes Docker and OCI types in any mixture (A-006, A-010)', async (t) => {
  const docker = descriptor(DOCKER_MANIFEST, 'docker')
  for (const mediaType of [OCI_INDEX, DOCKER_MANIFEST_LIST, LEGACY_LIST]) {
    const index = parse({ ...BASE, mediaType, manifests: [ENTRY, docker] }, mediaType)
    t.strictSame(index.manifests, [parsed(ENTRY), parsed(docker)])
    t.equal(index.mediaType, mediaType)
  }
})

t.test(
  'parseImageIndex() takes its type from whoever fetched it where it has none (A-083)',
  async (t) => {
    const untyped = { ...BASE, mediaType: undefined }
    t.equal(parse(untyped).mediaType, OCI_INDEX)
    t.equal(parse(untyped, DOCKER_MANIFEST_LIST).mediaType, DOCKER_MANIFEST_LIST)
  },
)

t.test('parseImageIndex() accepts an empty list (A-084)', async (t) => {
  t.strictSame(parse({ ...BASE, manifests: [] }).manifests, [])
})

t.test('parseImageIndex() keeps entries that nobody knows (A-038, A-087)', async (t) => {
  const xml = descriptor('application/xml', 'xml')
  const other = {
    ...ENTRY,
    digest: 'multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8',
  }
  t.strictSame(parse({ ...BASE, manifests: [xml, other] }).manifests, [parsed(xml), parsed(other)])
})

t.test('parseImageIndex() warns of half a platform and keeps the others (A-088)', async (t) => {
  const index = parse({ ...BASE, manifests: [{ ...ENTRY, platform: { os: 'linux' } }, ENTRY] })
  t.strictSame(index.warnings, ['image index: manifests[0].platform.architecture is missing'])
  t.strictSame(index.manifests[0]?.platform, { os: 'linux', architecture: '' })
})

t.test(
  'parseImageIndex() takes a platform without os and architecture for none (A-088)',
  async (t) => {
    const index = parse({ ...BASE, manifests: [{ ...ENTRY, platform: {} }] })
    t.equal(index.manifests[0]?.platform, undefined)
    t.equal(index.warnings.length, 2)
  },
)

const REFUSED: [string, unknown, RegExp][] = [
  ['schemaVersion 1 (A-081)', { ...BASE, schemaVersion: 1 }, /schemaVersion must be the number 2$/],
  ['schemaVersion as text (A-081)', { ...BASE, schemaVersion: '2' }, /must be the number 2$/],
  ['no schemaVersion (A-081)', { ...BASE, schemaVersion: undefined }, /schemaVersion is missing$/],
  ['no manifests (A-084)', { schemaVersion: 2 }, /image index: manifests is missing$/],
  ['null for manifests (A-084)', { ...BASE, manifests: null }, /manifests is missing$/],
  [
    'a manifest in its place',
    { schemaVersion: 2, config: {}, layers: [] },
    /it is an image manifest$/,
  ],
  [
    'layers beside manifests (A-111)',
    { ...BASE, layers: [] },
    /layers does not belong into an image ind/,
  ],
  [
    'config beside manifests (A-111)',
    { ...BASE, config: {} },
    /config does not belong into an image ind/,
  ],
  [
    'both, without a type (A-111)',
    { ...BASE, mediaType: undefined, layers: [] },
    /layers does not/,
  ],
  ['fsLayers (A-111)', { ...BASE, fsLayers: [] }, /fsLayers does not belong into an image index$/],
  [
    'MANIFESTS beside manifests (A-062)',
    { ...BASE, MANIFESTS: [] },
    /differs from "manifests" only/,
  ],
  ['the type of a manifest (A-082)', { ...BASE, mediaType: OCI_MANIFEST }, /does not belong into/],
]
for (const [name, value, message] of REFUSED) {
  t.test(`parseImageIndex() refuses ${name}`, async (t) => {
    t.throws(() => parse(value), { code: 'IMAGE_INVALID', message })
  })
}

t.test(
  'parseImageIndex() refuses another type than it was fetched as (A-082, A-112)',
  async (t) => {
    t.throws(() => parse(BASE, OCI_MANIFEST), { code: 'IMAGE_INVALID' })
    t.throws(() => parse(BASE, DOCKER_MANIFEST_LIST), { code: 'IMAGE_INVALID' })
    t.throws(() => parse({ ...BASE, mediaType: 'application/xml' }), { code: 'IMAGE_UNSUPPORTED' })
    t.throws(() => parse({ ...BASE, mediaType: OCI_CONFIG }), { code: 'IMAGE_UNSUPPORTED' })
  },
)

t.test('parseManifestOrIndex() decides by type first, then by fields (A-080, A-083)', async (t) => {
  const manifest = {
    schemaVersion: 2,
    config: descriptor(OCI_CONFIG, '{}'),
    layers: [descriptor(OCI_LAYER, 'l')],
  }
  const kind = (value: unknown, expected?: string): string =>
    Object.keys(parseManifestOrIndex(bytes(value), expected))[0] ?? ''
  t.equal(kind(BASE), 'index')
  t.equal(kind({ ...BASE, mediaType: undefined }), 'index')
  t.equal(kind({ ...BASE, mediaType: undefined }, DOCKER_MANIFEST_LIST), 'index')
  t.equal(kind(manifest), 'manifest')
  t.equal(kind(manifest, DOCKER_MANIFEST), 'manifest')
  t.throws(() => kind(manifest, OCI_INDEX), { code: 'IMAGE_INVALID' })
  t.throws(() => kind({ ...BASE, mediaType: undefined }, OCI_MANIFEST), { code: 'IMAGE_INVALID' })
  t.throws(() => kind({ ...manifest, manifests: [] }), { code: 'IMAGE_INVALID' })
})
