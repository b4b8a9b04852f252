// Documents that were sound before somebody changed them: whatever comes, a parser gives a result or an OcimountError.

import t from 'tap'
import { isOcimountError } from '../../src/errors.js'
import { parseDescriptor } from '../../src/image/descriptor.js'
import { digestOf } from '../../src/image/digest.js'
import { parseDockerManifest } from '../../src/image/docker-archive.js'
import { parseImageConfig } from '../../src/image/image-config.js'
import { parseImageIndex, parseManifestOrIndex } from '../../src/image/image-index.js'
import { parseJson } from '../../src/image/json.js'
import { parseLayoutHeader } from '../../src/image/layout.js'
import { notAnImageReason, parseManifest } from '../../src/image/manifest.js'
import { OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST } from '../../src/image/media-types.js'
import { choosePlatform } from '../../src/image/platform-choice.js'
import { formatPlatform, hostPlatform } from '../../src/image/platform.js'
import { seededRandom, type Random } from '../helpers/random.js'

const ROUNDS = 4000
const content = Buffer.from('{"a":1}')
const descriptor = {
  mediaType: OCI_LAYER_GZIP,
  digest: digestOf(content),
  size: content.length,
  urls: ['https://example.com/'],
  annotations: { k: 'v' },
  data: content.toString('base64'),
  platform: { os: 'linux', architecture: 'arm', variant: 'v7', 'os.features': ['x'] },
  artifactType: 'application/x',
}
const manifest = {
  schemaVersion: 2,
  mediaType: OCI_MANIFEST,
  config: { ...descriptor, mediaType: OCI_CONFIG },
  layers: [descriptor],
  subject: descriptor,
  annotations: { a: 'b' },
}
const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [descriptor, descriptor] }
const config = {
  created: '2024-01-01T00:00:00Z',
  os: 'linux',
  architecture: 'amd64',
  config: { User: '1', Env: ['A=b'], Cmd: ['c'], Volumes: { '/v': {} }, Labels: { l: 'm' } },
  rootfs: { type: 'layers', diff_ids: [digestOf(content)] },
  history: [{ created_by: 'x', empty_layer: true }],
}
const docker = [
  {
    Config: 'c.json',
    RepoTags: ['a:b'],
    Layers: ['l.tar'],
    LayerSources: { [digestOf(content)]: descriptor },
  },
]

const PARSERS: [string, unknown, (bytes: Buffer) => unknown][] = [
  ['parseDescriptor', descriptor, (bytes) => parseDescriptor(parseJson(bytes, 'x'), 'x')],
  ['parseManifest', manifest, (bytes) => notAnImageReason(parseManifest(bytes))],
  [
    'parseImageIndex',
    index,
    (bytes) => {
      const { manifests } = parseImageIndex(bytes)
      for (const { platform } of manifests) if (platform) formatPlatform(platform)
      return choosePlatform(manifests, hostPlatform())
    },
  ],
  ['parseManifestOrIndex', index, (bytes) => parseManifestOrIndex(bytes)],
  ['parseImageConfig', config, (bytes) => parseImageConfig(bytes)],
  ['parseDockerManifest', docker, (bytes) => parseDockerManifest(bytes)],
  ['parseLayoutHeader', { imageLayoutVersion: '1.0.0' }, (bytes) => parseLayoutHeader(bytes)],
]
const VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 60,
  '',
  'x',
  '\u001b[31m\n',
  '__proto__',
  'sha256:../..',
  'a'.repeat(300),
  [],
  {},
  [null],
  { '': 1 },
]

const CODES = [
  'IMAGE_INVALID',
  'IMAGE_UNSUPPORTED',
  'LIMIT_EXCEEDED',
  'SIZE_MISMATCH',
  'DIGEST_MISMATCH',
] as const

for (const [name, sound, parse] of PARSERS) {
  t.test(
    `${name}() gives a result or an OcimountError of one line, whatever it reads`,
    async (t) => {
      t.doesNotThrow(() => parse(Buffer.from(JSON.stringify(sound))))
      const random = seededRandom(t, 20_260_103)
      const counts = { accepted: 0, refused: 0 }
      for (let round = 0; round < ROUNDS; round++) {
        const bytes =
          random.below(3) === 0 ? damageBytes(random, sound) : damageValue(random, sound)
        try {
          parse(bytes)
          counts.accepted++
        } catch (error) {
          // One printable line: what it repeats of the document is escaped.
          if (!isOcimountError(error, ...CODES) || !/^Cannot [^\p{C}]+$/u.test(error.message)) {
            t.fail(`wrong error for ${JSON.stringify(bytes.toString('latin1'))}`, { error })
            return
          }
          counts.refused++
        }
      }
      t.ok(counts.accepted > 0 && counts.refused > 0, JSON.stringify(counts))
    },
  )
}

/** Replaces, removes or renames one member somewhere in the document. */
function damageValue(random: Random, sound: unknown): Buffer {
  const copy = structuredClone(sound)
  let place = copy as Record<string, unknown>
  for (;;) {
    const names = Object.keys(place)
    if (names.length === 0) break
    const name = random.pick(names)
    const value = place[name]
    if (typeof value === 'object' && value !== null && random.below(3) > 0) {
      place = value as Record<string, unknown>
      continue
    }
    const action = random.below(5)
    if (action === 0) Reflect.deleteProperty(place, name)
    else if (action === 1) place[name.toUpperCase()] = value
    else place[name] = random.pick(VALUES)
    break
  }
  return Buffer.from(JSON.stringify(copy))
}

function damageBytes(random: Random, sound: unknown): Buffer {
  const bytes = Buffer.from(JSON.stringify(sound))
  bytes[random.below(bytes.length)] = random.below(256)
  return random.below(4) === 0 ? bytes.subarray(0, random.below(bytes.length)) : bytes
}
