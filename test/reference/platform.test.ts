import t from 'tap'
import { formatPlatform, hostPlatform, type Platform } from '../../src/image/platform.js'
import { parsePlatform } from '../../src/reference/platform.js'

const PARSED: [string, Platform][] = [
  ['linux/amd64', { os: 'linux', architecture: 'amd64' }],
  ['Linux/X86_64', { os: 'linux', architecture: 'amd64' }],
  ['linux/arm', { os: 'linux', architecture: 'arm', variant: 'v7' }],
  ['linux/arm/6', { os: 'linux', architecture: 'arm', variant: 'v6' }],
  ['linux/arm64/v8', { os: 'linux', architecture: 'arm64' }],
  ['linux/arm64/v9.2', { os: 'linux', architecture: 'arm64', variant: 'v9.2' }],
  ['unheard/of', { os: 'unheard', architecture: 'of' }],
  ['arm64', { os: 'linux', architecture: 'arm64' }],
  ['armhf', { os: 'linux', architecture: 'arm', variant: 'v7' }],
  ['s390x', { os: 'linux', architecture: 's390x' }],
  ['linux', hostPlatform()],
  ['windows', { ...hostPlatform(), os: 'windows' }],
  ['macos', { ...hostPlatform(), os: 'darwin' }],
  ['windows(10.0.17763)/amd64', { os: 'windows', architecture: 'amd64', osVersion: '10.0.17763' }],
]
for (const [text, want] of PARSED) {
  t.test(`parsePlatform() reads ${text} (A-090, A-101)`, async (t) => {
    t.strictSame(parsePlatform(text), want)
    t.strictSame(parsePlatform(formatPlatform(parsePlatform(text))), want)
  })
}

for (const text of [
  '',
  '/',
  'linux/',
  '/amd64',
  'linux/amd64/',
  'a/b/c/d',
  'linux amd64',
  'foo',
  'linux/../x',
  'arm64(1)',
  'é/x',
  'linux/amd64\n',
]) {
  t.test(`parsePlatform() refuses ${JSON.stringify(text)}`, async (t) => {
    t.throws(() => parsePlatform(text), { code: 'USAGE', message: /^Cannot use platform "/ })
  })
}
