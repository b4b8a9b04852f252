import t from 'tap'
import {
  formatPlatform,
  hostPlatform,
  normalizePlatform,
  type Platform,
} from '../../src/image/platform.js'

/** Spelling and normal form, both `os/architecture/variant`. */
const SPELLINGS: [string, string][] = [
  ['Linux/x86_64', 'linux/amd64'],
  ['linux/x86-64/v1', 'linux/amd64'],
  ['linux/AMD64/V3', 'linux/amd64/v3'],
  ['linux/amd64/2', 'linux/amd64/v2'],
  ['linux/aarch64', 'linux/arm64'],
  ['linux/arm64/v8', 'linux/arm64'],
  ['linux/arm64/8', 'linux/arm64'],
  ['linux/arm64/v8.0', 'linux/arm64'],
  ['linux/arm64/v9.0', 'linux/arm64/v9'],
  ['linux/arm64/v8.2', 'linux/arm64/v8.2'],
  ['linux/i386', 'linux/386'],
  ['linux/i486', 'linux/386'],
  ['linux/i686/v7', 'linux/386'],
  ['linux/armhf', 'linux/arm/v7'],
  ['linux/armel', 'linux/arm/v6'],
  ['linux/arm', 'linux/arm/v7'],
  ['linux/arm/6', 'linux/arm/v6'],
  ['linux/arm/v5', 'linux/arm/v5'],
  ['macos/arm64', 'darwin/arm64'],
  ['linux/ppc64le/power9', 'linux/ppc64le/power9'],
  ['linux/riscv64/rva20u64', 'linux/riscv64/rva20u64'],
  ['plan9/unheard-of/v1', 'plan9/unheard-of/v1'],
]
const split = (text: string): Platform => {
  const [os = '', architecture = '', variant] = text.split('/')
  return { os, architecture, ...(variant === undefined ? {} : { variant }) }
}
for (const [spelling, normal] of SPELLINGS) {
  t.test(`normalizePlatform() takes ${spelling} for ${normal} (A-090, A-092)`, async (t) => {
    t.strictSame(normalizePlatform(split(spelling)), split(normal))
    t.strictSame(normalizePlatform(split(normal)), split(normal))
    t.equal(formatPlatform(split(spelling)), normal)
  })
}

t.test('normalizePlatform() keeps version and features', async (t) => {
  const rest = { osVersion: '10.0.17763.1', osFeatures: ['win32k'] }
  t.strictSame(normalizePlatform({ os: 'Windows', architecture: 'amd64', variant: '', ...rest }), {
    os: 'windows',
    architecture: 'amd64',
    ...rest,
  })
})

t.test('formatPlatform() shows the version of Windows alone (A-093)', async (t) => {
  const rest = { architecture: 'amd64', osVersion: '10.0.17763.1' }
  t.equal(formatPlatform({ os: 'windows', ...rest }), 'windows(10.0.17763.1)/amd64')
  t.equal(formatPlatform({ os: 'linux', ...rest }), 'linux/amd64')
})

t.test('formatPlatform() is safe to show', async (t) => {
  t.equal(formatPlatform({ os: 'li\u001b[2Jnux', architecture: 'x\ny' }), 'li\\x1b[2jnux/x\\x0ay')
})

t.test('hostPlatform() is Linux on this processor', async (t) => {
  const host = hostPlatform()
  t.equal(host.os, 'linux')
  t.strictSame(host, normalizePlatform(host))
  const known: Record<string, string> = {
    x64: 'amd64',
    arm64: 'arm64',
    ia32: '386',
    s390x: 's390x',
  }
  t.equal(host.architecture, known[process.arch] ?? host.architecture)
})
