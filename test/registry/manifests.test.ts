// Manifests by tag and digest, and where they are asked for: registries, mirrors, hosts with certificates of their own.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { guardedLookup, refusedHost } from '../../src/registry/hosts.js'
import { loadHostsToml } from '../../src/registry/hosts-toml.js'
import { findEndpoints } from '../../src/registry/mirrors.js'
import { proxyFor } from '../../src/registry/proxy.js'
import { matchedLength } from '../../src/registry/registries-conf.js'
import { parseRetryAfter } from '../../src/registry/retry.js'
import { buildImage, buildIndex, OCI, sha256 } from '../helpers/build-image.js'
import { makeCertificate } from '../helpers/certificate.js'
import { FaultRegistry } from '../helpers/fault-registry.js'
import { client, digestOf, directoryOf, EMPTY_ENV, NO_MIRRORS, readAll } from './support.js'

const image = buildImage({ layers: [Buffer.alloc(1024)] })
const index = buildIndex({ index: [{ layers: [Buffer.alloc(1024)] }] })

t.test('by tag and by digest', async (t) => {
  const registry = await FaultRegistry.start(t)
  registry.push('org/app', image, 'v1')
  registry.push('org/app', index, 'multi')
  const from = client(t, `${registry.host}/org/app`)
  t.match(await from.fetchManifest('v1'), { digest: image.manifestDigest, mediaType: OCI.manifest })
  t.match(await from.fetchManifest('multi'), { mediaType: OCI.index })
  t.match((await from.fetchManifest(image.manifestDigest)).bytes.equals(image.manifest), true)
  t.match(
    registry.requests[0]?.accept,
    /^application\/vnd\.oci\.image\.index\.v1\+json, .*manifest\.list.*, .*manifest\.v1\+json, .*manifest\.v2\+json$/,
  )
  await t.rejects(from.fetchManifest('v2'), {
    code: 'REFERENCE_NOT_FOUND',
    message:
      /^Cannot pull 127\.0\.0\.1:\d+\/org\/app:v2: .*\(status 404, MANIFEST_UNKNOWN: manifest unknown\)$/,
  })
})

t.test('what a manifest must not be', async (t) => {
  const cases: readonly [string, Parameters<typeof FaultRegistry.start>[1], string][] = [
    ['other bytes', { fault: () => ({ flipAt: 3, status: 200, body: 'x' }) }, 'DIGEST_MISMATCH'],
    [
      'too many',
      { fault: () => ({ status: 200, body: Buffer.alloc(8 * 1024 * 1024 + 1) }) },
      'LIMIT_EXCEEDED',
    ],
    ['packed', { fault: () => ({ gzip: true }) }, 'REGISTRY_UNAVAILABLE'],
  ]
  for (const [name, options, code] of cases) {
    const registry = await FaultRegistry.start(t, options)
    registry.push('org/app', image, 'v1')
    const from = client(t, `${registry.host}/org/app`)
    await t.rejects(from.fetchManifest(image.manifestDigest), { code }, name)
  }
  const headers = {
    'docker-content-digest': sha256('another'),
    'content-type': 'text/plain; charset=utf-8',
  }
  const liar = await FaultRegistry.start(t, { fault: () => ({ headers }) })
  liar.push('org/app', image, 'v1')
  const from = client(t, `${liar.host}/org/app`)
  await t.rejects(from.fetchManifest('v1'), { code: 'DIGEST_MISMATCH' }, 'a header that is a lie')
  t.match(await from.fetchManifest(image.manifestDigest), { mediaType: undefined }, 'a vague type')
})

t.test('what a registry wants us to know', async (t) => {
  const headers = {
    warning: ['299 - "be \\"careful\\"\u001b"', '299 - "be \\"careful\\"\u001b"', '199 - "x"'],
  }
  const registry = await FaultRegistry.start(t, {
    fault: () => ({
      headers: { warning: headers.warning.map((text) => text.replace('\u001b', '')) },
    }),
  })
  registry.push('org/app', image, 'v1')
  const warnings: string[] = []
  const from = client(t, `${registry.host}/org/app`, { onWarning: (text) => warnings.push(text) })
  await from.fetchManifest('v1')
  await from.fetchManifest('v1')
  t.strictSame(warnings, [`${registry.host}/org/app: be "careful"`])
})

t.test('nobody there', async (t) => {
  const registry = await FaultRegistry.start(t)
  const { host } = registry
  await registry.stop()
  const from = client(t, `${host}/org/app`)
  await t.rejects(from.fetchManifest('v1'), {
    code: 'REGISTRY_UNAVAILABLE',
    isUnreachable: true,
    message: /cannot be used: the connection was refused$/,
  })
  await t.rejects(client(t, 'no-such-host.invalid/a').fetchManifest('v1'), {
    message: /there is no host of that name|cannot be resolved/,
  })
})

t.test('TLS', async (t) => {
  const dir = directoryOf(t)
  const made = makeCertificate(dir)
  const [key, cert] = [readFileSync(made.key), readFileSync(made.cert)]
  const registry = await FaultRegistry.start(t, { tls: { key, cert } })
  registry.push('org/app', image, 'v1')
  await t.rejects(client(t, `${registry.host}/org/app`).fetchManifest('v1'), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /its certificate is refused/,
  })
  const home = directoryOf(t, {
    [`.config/containers/certs.d/${registry.host}/ca.crt`]: cert.toString(),
  })
  const env = { ...EMPTY_ENV, HOME: home }
  t.ok(await client(t, `${registry.host}/org/app`, { env }).fetchManifest('v1'), 'certs.d')
  t.ok(await client(t, `${registry.host}/org/app`, { isInsecure: true }).fetchManifest('v1'))
  const downgrade = await FaultRegistry.start(t, {
    tls: { key, cert },
    fault: () => ({ status: 302, headers: { location: `http://${registry.host}/` } }),
  })
  const insecure = client(t, `${downgrade.host}/org/app`, { isInsecure: true })
  await t.rejects(insecure.fetchManifest('v1'), { message: /from https to plain http/ })
})

t.test('mirrors', async (t) => {
  const origin = await FaultRegistry.start(t)
  const mirror = await FaultRegistry.start(t)
  const layer = image.layers[0]?.stored ?? Buffer.alloc(0)
  origin.push('org/app', image, 'v1')
  mirror.push('copy/app', image, 'v1')
  const conf = (
    text: string,
  ): {
    registriesConf: string[]
    registriesConfDirectories: string[]
    hostsDirectories: string[]
  } => ({
    ...NO_MIRRORS,
    hostsDirectories: [],
    registriesConfDirectories: [],
    registriesConf: [join(directoryOf(t, { 'registries.conf': text }), 'registries.conf')],
  })
  const rule = (more: string): string =>
    `[[registry]]\nprefix = "example.com/org"\nlocation = "${origin.host}/org"\n${more}`
  const to = (location: string, more = ''): string =>
    `[[registry.mirror]]\nlocation = "${location}"\n${more}\n`
  const read = async (text: string): Promise<readonly [number, number]> => {
    const before = [origin.requests.length, mirror.requests.length] as const
    const from = client(t, 'example.com/org/app', { mirrorFiles: conf(text) })
    t.equal((await from.fetchManifest('v1')).digest, image.manifestDigest)
    t.ok((await readAll(from, layer)).equals(layer))
    return [origin.requests.length - before[0], mirror.requests.length - before[1]]
  }
  t.strictSame(await read(rule(to(`${mirror.host}/copy`))), [0, 2])
  t.strictSame(
    await read(rule(to(`${mirror.host}/copy`, 'pull-from-mirror = "digest-only"'))),
    [1, 1],
  )
  t.strictSame(await read(rule(to(`${mirror.host}/copy`, 'pull-from-mirror = "tag-only"'))), [1, 1])
  t.strictSame(
    await read(rule(`mirror-by-digest-only = true\n${to(`${mirror.host}/copy`)}`)),
    [1, 1],
  )
  t.strictSame(await read(rule(to(`${mirror.host}/none`))), [1, 2], 'a mirror without it')
  mirror.options = { fault: () => ({ status: 500 }) }
  const [asked] = await read(rule(to(`${mirror.host}/copy`)))
  t.equal(asked, 2, 'a mirror in trouble')

  mirror.options = { fault: ({ kind }) => (kind === 'blob' ? { flipAt: 7 } : undefined) }
  const from = client(t, 'example.com/org/app', {
    mirrorFiles: conf(rule(to(`${mirror.host}/copy`))),
  })
  t.notOk((await readAll(from, layer)).equals(layer), 'wrong bytes are for the caller to see')
  t.equal(await from.distrust(digestOf(layer)), true)
  t.ok((await readAll(from, layer)).equals(layer), 'and come from elsewhere then')
  t.equal(await from.distrust(digestOf(layer)), false)

  const blocked = client(t, 'example.com/org/app', { mirrorFiles: conf(rule('blocked = true')) })
  await t.rejects(blocked.fetchManifest('v1'), {
    code: 'REGISTRY_DENIED',
    message: /is blocked in/,
  })
  const broken = client(t, 'example.com/org/app', { mirrorFiles: conf('[[registry]\n') })
  await t.rejects(broken.fetchManifest('v1'), { message: /^Cannot use the configuration [^\n]+$/ })
})

t.test('which rule is about a name', async (t) => {
  const cases: readonly [string, string, boolean][] = [
    ['example.com/org/app', 'example.com', true],
    ['example.com/org/app', 'example.com/org', true],
    ['example.com/organ/app', 'example.com/org', false],
    ['example.com:5000/app', 'example.com', true],
    ['a.example.com/app', '*.example.com', true],
    ['a.b.example.com:80/app', '*.example.com', true],
    ['example.com/app', '*.example.com', false],
    ['evil.org/a.example.com', '*.example.com', false],
  ]
  for (const [name, prefix, isAbout] of cases)
    t.equal(matchedLength(name, prefix) > 0, isAbout, `${name} ${prefix}`)
})

t.test('hosts.toml', async (t) => {
  const hosts = directoryOf(t, {
    'docker.io/hosts.toml': `server = "https://registry-1.docker.io"
[host."https://mirror.example/proxy"]
  capabilities = ["pull"]
  ca = "ca.pem"
  [host."https://mirror.example/proxy".header]
    x-custom = "1"
[host."http://cache.example:5000/v2/hub"]
  override_path = true
  skip_verify = true`,
    'example.com_5000_/hosts.toml': '[host."https://m.example"]',
    'wrong.example/hosts.toml': 'server = 5',
  })
  const name = (domain: string): { domain: string; repository: string } => ({
    domain,
    repository: 'a/b',
  })
  const found = await loadHostsToml(name('docker.io'), [hosts])
  t.match(found, {
    server: {
      host: 'registry-1.docker.io',
      prefix: '/v2',
      credentialHost: 'docker.io',
      namespace: undefined,
    },
    mirrors: [
      {
        ...{
          host: 'mirror.example',
          prefix: '/proxy/v2',
          namespace: 'docker.io',
          canResolveTags: false,
        },
        tls: { authorities: [join(hosts, 'docker.io/ca.pem')] },
        headers: { 'x-custom': '1' },
      },
      { host: 'cache.example:5000', prefix: '/v2/hub', scheme: 'http', skipVerify: true },
    ],
  })
  t.match(await loadHostsToml(name('example.com:5000'), [hosts]), {
    mirrors: [{ host: 'm.example' }],
  })
  t.equal(await loadHostsToml(name('other.example'), [hosts]), undefined)
  await t.rejects(loadHostsToml(name('wrong.example'), [hosts]), {
    message: /server: it is not a string$/,
  })
  const files = { ...NO_MIRRORS, hostsDirectories: [hosts] }
  const options = { isInsecure: false, env: {}, files }
  t.strictSame(
    (await findEndpoints(name('docker.io'), options)).map(({ host }) => host),
    ['mirror.example', 'cache.example:5000', 'registry-1.docker.io'],
  )
  t.match(await findEndpoints(name('r.example'), options), [{ host: 'r.example', scheme: 'https' }])
  t.match(await findEndpoints(name('localhost:5000'), options), [{ scheme: 'either' }])
})

t.test('daemon.json', async (t) => {
  const name = (domain: string): { domain: string; repository: string } => ({
    domain,
    repository: 'library/app',
  })
  const find = (text: string, domain: string): ReturnType<typeof findEndpoints> => {
    const path = join(directoryOf(t, { 'daemon.json': text }), 'daemon.json')
    const files = { ...NO_MIRRORS, daemonJson: ['/nonexistent/daemon.json', path] }
    return findEndpoints(name(domain), { isInsecure: false, env: {}, files })
  }
  const text = JSON.stringify({
    'registry-mirrors': ['https://m.example', 'http://cache.example:5000/hub/'],
    'insecure-registries': ['r.example:5000', 'http://s.example', '10.0.0.0/8', 'm.example'],
    'log-driver': 'journald',
  })
  t.match(await find(text, 'docker.io'), [
    { host: 'm.example', prefix: '/v2', scheme: 'https', skipVerify: true, headers: {} },
    { host: 'cache.example:5000', prefix: '/hub/v2', scheme: 'http', repository: 'library/app' },
    { host: 'registry-1.docker.io', scheme: 'https', skipVerify: false },
  ])
  for (const domain of ['r.example:5000', 's.example', '10.1.2.3', '10.1.2.3:5000']) {
    t.match(await find(text, domain), [{ host: domain, scheme: 'either', skipVerify: true }])
  }
  for (const domain of ['r.example', 'other.example', '11.0.0.1', '10.example']) {
    const found = await find(text, domain)
    t.match(found, [{ host: domain, scheme: 'https', skipVerify: false }])
    t.equal(found.length, 1, 'mirrors are for Docker Hub alone')
  }
  for (const nothing of ['', ' \n', '\uFEFF{}', '{"registry-mirrors":null}']) {
    t.match(await find(nothing, 'docker.io'), [{ host: 'registry-1.docker.io' }], 'as dockerd')
  }
  for (const [wrong, why] of [
    ['{', /^Cannot use the configuration [^\n]+$/],
    ['[]', /it is not a table/],
    ['{"registry-mirrors":[1]}', /registry-mirrors: it is not a list of strings/],
    ['{"registry-mirrors":["m.example"]}', /a mirror is not the URL of a server/],
    ['{"registry-mirrors":["https://u:p@m.example"]}', /a mirror is not the URL of a server/],
  ] as const) {
    await t.rejects(find(wrong, 'docker.io'), { code: 'REGISTRY_DENIED', message: why })
  }
  const hosts = directoryOf(t, { 'docker.io/hosts.toml': '[host."https://first.example"]\n' })
  const path = join(directoryOf(t, { 'daemon.json': text }), 'daemon.json')
  const files = { ...NO_MIRRORS, hostsDirectories: [hosts], daemonJson: [path] }
  const options = { isInsecure: false, env: {}, files }
  t.strictSame(
    (await findEndpoints(name('docker.io'), options)).map(({ host }) => host),
    ['first.example', 'registry-1.docker.io'],
    'what containerd has goes first',
  )
})

t.test('proxies', async (t) => {
  const env = {
    HTTPS_PROXY: 'http://user:secret@proxy:3128',
    NO_PROXY: 'in.example,.suffix.example,10.0.0.0/8,p.example:81',
  }
  const through = (url: string): boolean => proxyFor(new URL(url), env) !== undefined
  for (const url of [
    'https://r.example',
    'https://xin.example',
    'https://p.example',
    'https://11.0.0.1',
  ])
    t.ok(through(url), url)
  for (const url of [
    'http://r.example',
    'https://in.example',
    'https://a.in.example',
    'https://a.suffix.example',
    'https://10.1.2.3',
    'https://p.example:81',
    'https://localhost',
    'https://127.0.0.1:5000',
  ])
    t.notOk(through(url), url)
  t.equal(proxyFor(new URL('http://a'), { http_proxy: 'p:1', no_proxy: '*' }), undefined)
  t.equal(proxyFor(new URL('http://a'), { http_proxy: 'p:1' })?.host, 'p:1')
  t.throws(() => proxyFor(new URL('http://a'), { http_proxy: 'socks5://user:secret@p' }), {
    message: /^Cannot use the proxy in http_proxy: it is no http URL$/,
  })
})

t.test('hosts that nothing may lead to', async (t) => {
  t.ok(refusedHost('169.254.1.1:80', true))
  t.ok(refusedHost('localhost', false))
  t.ok(refusedHost('[::1]:5000', false))
  t.ok(refusedHost('127.0.0.1', false))
  t.notOk(refusedHost('127.0.0.1', true))
  t.notOk(refusedHost('10.0.0.1', false))
  t.notOk(refusedHost('storage.example', false))
})

t.test('names that lead to this machine are found out', async (t) => {
  const find = (isFromLoopback: boolean, all: boolean): Promise<unknown> =>
    new Promise((resolve) => {
      guardedLookup(isFromLoopback)('localhost', { all, family: 4 }, (error, address) => {
        resolve(error?.message ?? address)
      })
    })
  t.equal(await find(false, true), '127.0.0.1 is this machine')
  t.equal(await find(true, false), '127.0.0.1')
  t.strictSame(await find(true, true), [{ address: '127.0.0.1', family: 4 }])
})

t.test('a host in capitals, or with the port that it has anyway', async (t) => {
  const registry = await FaultRegistry.start(t, { auth: { kind: 'bearer' } })
  registry.push('org/app', image, 'v1')
  const port = registry.host.split(':')[1] ?? ''
  const from = client(t, `LOCALHOST:${port}/org/app`)
  t.ok(await from.fetchManifest('v1'), 'is asked who it is')
})

t.test('Retry-After', async (t) => {
  const now = Date.parse('2024-01-01T00:00:00Z')
  t.equal(parseRetryAfter('7', now), 7000)
  t.equal(parseRetryAfter('Mon, 01 Jan 2024 00:00:30 GMT', now), 30_000)
  t.equal(parseRetryAfter('Sun, 31 Dec 2023 00:00:30 GMT', now), 0)
  t.equal(parseRetryAfter('soon', now), undefined)
  t.equal(parseRetryAfter(undefined, now), undefined)
})
