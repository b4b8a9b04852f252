import t from 'tap'
import {
  DOCKER_MANIFEST,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
} from '../../src/image/media-types.js'
import {
  choosePlatform,
  isImageCandidate,
  matchesPlatform,
  rankPlatforms,
  type PlatformCandidate,
} from '../../src/image/platform-choice.js'
import type { Platform } from '../../src/image/platform.js'

const platform = (text: string): Platform => {
  const [os = '', architecture = '', variant] = text.split('/')
  return { os, architecture, ...(variant === undefined ? {} : { variant }) }
}
const NONE = new Map<string, string>()
const entry = (text: string, extra: Partial<PlatformCandidate> = {}): PlatformCandidate => ({
  mediaType: OCI_MANIFEST,
  annotations: NONE,
  ...(text === '' ? {} : { platform: platform(text) }),
  ...extra,
})
const note = (key: string, value: string): Partial<PlatformCandidate> => ({
  annotations: new Map([[key, value]]),
})

/** What is wanted, what is there, and which of these (by place) are usable in which order. */
const RANKINGS: [string, string, string[], number[]][] = [
  ['an exact match', 'linux/amd64', ['linux/arm64', 'linux/amd64'], [1]],
  ['another spelling (A-090)', 'linux/amd64', ['linux/x86_64'], [0]],
  ['the first of two equals (A-089)', 'linux/amd64', ['linux/amd64', 'linux/amd64'], [0, 1]],
  ['nothing for another system', 'linux/amd64', ['windows/amd64', 'freebsd/amd64'], []],
  ['386 last for amd64 (A-091)', 'linux/amd64', ['linux/386', 'linux/amd64'], [1, 0]],
  ['no amd64 for 386', 'linux/386', ['linux/amd64'], []],
  [
    'lower levels of amd64 (A-091)',
    'linux/amd64/v3',
    [
      'linux/386',
      'linux/amd64',
      'linux/amd64/v2',
      'linux/amd64/v4',
      'linux/amd64/v3',
      'linux/amd64/v1',
    ],
    [4, 2, 1, 5, 0],
  ],
  ['no v2 for plain amd64', 'linux/amd64', ['linux/amd64/v2'], []],
  [
    'older ARM (A-091)',
    'linux/arm/v7',
    ['linux/arm/v5', 'linux/arm/v8', 'linux/arm/v6', 'linux/arm'],
    [3, 2, 0],
  ],
  ['arm/v6 when it is all there is (A-091)', 'linux/arm/v7', ['linux/arm/v6'], [0]],
  [
    '32-bit ARM for arm64 (A-091)',
    'linux/arm64',
    ['linux/arm/v7', 'linux/arm/v8', 'linux/arm64', 'linux/arm64/v9', 'linux/arm64/v8.1'],
    [2, 1, 0],
  ],
  [
    'revisions of arm64 (A-091)',
    'linux/arm64/v9.1',
    [
      'linux/arm64/v8',
      'linux/arm64/v9',
      'linux/arm64/v9.2',
      'linux/arm64/v8.6',
      'linux/arm64/v8.7',
    ],
    [1, 3, 0],
  ],
  ['the plain form of an unknown variant (A-092)', 'linux/ppc64le/power9', ['linux/ppc64le'], [0]],
  ['no other variant of it (A-092)', 'linux/ppc64le', ['linux/ppc64le/power9'], []],
  ['an entry without platform last (A-096)', 'linux/amd64', ['', 'linux/386'], [1, 0]],
  ['half a platform never (A-088)', 'linux/amd64', ['linux/', '/amd64'], []],
  ['unknown/unknown never (A-097)', 'unknown/unknown', ['unknown/unknown'], []],
  ['nothing in an empty list (A-084)', 'linux/amd64', [], []],
]
for (const [name, wanted, there, want] of RANKINGS) {
  t.test(`rankPlatforms() finds ${name}`, async (t) => {
    const entries = there.map((text) => entry(text))
    const ranked = rankPlatforms(entries, platform(wanted))
    t.strictSame(
      ranked.map((found) => entries.indexOf(found)),
      want,
    )
    t.equal(choosePlatform(entries, platform(wanted)), entries[want[0] ?? -1])
  })
}

const AMD64 = platform('linux/amd64')
const ATTESTATION = note('vnd.docker.reference.type', 'attestation-manifest')

t.test('isImageCandidate() passes over what is no image (A-087, A-097, A-158)', async (t) => {
  const cases: [PlatformCandidate, boolean][] = [
    [entry('linux/amd64'), true],
    [entry(''), true],
    [entry('', { mediaType: OCI_INDEX }), true],
    [entry('', { mediaType: DOCKER_MANIFEST }), true],
    [entry('linux/amd64', { mediaType: 'application/xml' }), false],
    [entry('linux/amd64', { mediaType: OCI_LAYER }), false],
    [entry('unknown/unknown'), false],
    [entry('linux/amd64', ATTESTATION), false],
    [entry('', ATTESTATION), false],
    [entry('', { artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json' }), false],
    [entry('', { artifactType: OCI_CONFIG }), true],
    [entry('linux/amd64', { artifactType: 'application/vnd.example' }), true],
  ]
  t.strictSame(
    cases.map(([candidate]) => isImageCandidate(candidate)),
    cases.map(([, want]) => want),
  )
})

t.test('choosePlatform() skips entries of unknown types (A-087)', async (t) => {
  const entries = [entry('linux/amd64', { mediaType: 'application/xml' }), entry('linux/amd64')]
  t.equal(choosePlatform(entries, AMD64), entries[1])
})

t.test('choosePlatform() prefers the zstd twin of equal rank (A-099)', async (t) => {
  const zstd = note('io.github.containers.compression.zstd', 'true')
  const entries = [entry('linux/amd64'), entry('linux/amd64', zstd), entry('linux/386', zstd)]
  t.strictSame(rankPlatforms(entries, AMD64), [entries[1], entries[0], entries[2]])
})

t.test('choosePlatform() needs every feature that an entry names (A-094, A-095)', async (t) => {
  const plain = entry('linux/amd64')
  const featured = entry('', { platform: { ...AMD64, osFeatures: ['unknown'] } })
  t.equal(choosePlatform([featured, plain], AMD64), plain)
  t.equal(choosePlatform([featured], AMD64), undefined)
  t.equal(choosePlatform([featured], { ...AMD64, osFeatures: ['a', 'unknown'] }), featured)
})

t.test('choosePlatform() compares builds of Windows and no other versions (A-093)', async (t) => {
  const windows = (osVersion: string): PlatformCandidate =>
    entry('', { platform: { ...platform('windows/amd64'), osVersion } })
  const entries = [windows('10.0.14393.1'), windows('10.0.17763.5')]
  const wanted = { ...platform('windows/amd64'), osVersion: '10.0.17763.9' }
  t.equal(choosePlatform(entries, wanted), entries[1])
  t.equal(choosePlatform(entries, platform('windows/amd64')), entries[0])
  const linux = entry('', { platform: { ...AMD64, osVersion: '5' } })
  t.equal(choosePlatform([linux], { ...AMD64, osVersion: '6' }), linux)
})

t.test('matchesPlatform() compares a config with the request (A-098, A-101)', async (t) => {
  t.ok(matchesPlatform(platform('linux/386'), AMD64))
  t.ok(matchesPlatform(platform('linux/aarch64'), platform('linux/arm64/v8')))
  t.notOk(matchesPlatform(platform('linux/arm64'), AMD64))
  t.notOk(matchesPlatform(platform('windows/amd64'), AMD64))
})
