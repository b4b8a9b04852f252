// Who is shown what: challenges, tokens, credentials and where they come from.

import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { findInAuthFile, parseAuthFile } from '../../src/registry/auth-file.js'
import { parseChallenges } from '../../src/registry/challenge.js'
import { findCredentials } from '../../src/registry/credentials.js'
import { FaultRegistry } from '../helpers/fault-registry.js'
import { client, directoryOf, EMPTY_ENV, readAll } from './support.js'

const blob = Buffer.from('a layer')
const PASSWORD = 'pass:word-Ünïcode'
const pair = (text: string): string => Buffer.from(text).toString('base64')

t.test('challenges in all the ways that servers write them', async (t) => {
  const read = (...headers: string[]): unknown =>
    parseChallenges(headers).map(({ scheme, parameters }) => [
      scheme,
      Object.fromEntries(parameters),
    ])
  t.strictSame(
    read('Bearer realm="https://a/b?c=d,e",service=x , scope="repository:a/b:pull,push"'),
    [['bearer', { realm: 'https://a/b?c=d,e', service: 'x', scope: 'repository:a/b:pull,push' }]],
  )
  t.strictSame(read('Basic realm="a \\"quoted\\", one", BEARER Realm = "r",error="e"'), [
    ['basic', { realm: 'a "quoted", one' }],
    ['bearer', { realm: 'r', error: 'e' }],
  ])
  t.strictSame(read('Negotiate', 'NTLM TlRM==, Basic realm=x'), [
    ['negotiate', {}],
    ['ntlm', {}],
    ['basic', { realm: 'x' }],
  ])
  t.strictSame(read('', ',,,', '"', 'Bearer realm="open'), [['bearer', {}]])
  t.ok(read(`Bearer ${'a'.repeat(100_000)}`), 'bounded')
})

t.test('what a file of credentials says', async (t) => {
  const find = (file: unknown, host: string, repository = 'org/app'): unknown => {
    const parsed = parseAuthFile(JSON.stringify(file))
    return parsed === undefined ? 'unusable' : findInAuthFile(parsed, host, repository)
  }
  const password = (username: string, word: string): unknown => ({
    ...{ kind: 'password', username, password: word },
  })
  const auths = {
    'r.example': { auth: pair('host:1') },
    'r.example/org': { auth: pair('org:2:3') },
    'r.example/org/app': { auth: pair('app:4\0\0') },
    'https://old.example/v2/': { username: 'u', password: 'p' },
    'https://index.docker.io/v1/': { auth: pair('hub:5') },
    'token.example': { auth: pair('x:y'), identitytoken: 'secret-identity' },
    'bearer.example': { registrytoken: 'secret-bearer' },
    '__proto__.example': 7,
  }
  t.strictSame(find({ auths }, 'r.example'), password('app', '4'))
  t.strictSame(find({ auths }, 'r.example', 'org/other'), password('org', '2:3'))
  t.strictSame(find({ auths }, 'r.example', 'organ/app'), password('host', '1'))
  t.strictSame(find({ auths }, 'r.example:5000'), undefined)
  t.strictSame(find({ auths }, 'old.example'), password('u', 'p'))
  t.strictSame(find({ auths }, 'docker.io'), password('hub', '5'))
  t.strictSame(find({ auths }, 'token.example'), { kind: 'identity', token: 'secret-identity' })
  t.strictSame(find({ auths }, 'bearer.example'), { kind: 'bearer', token: 'secret-bearer' })
  t.strictSame(find({ auths }, '__proto__'), undefined)
  t.strictSame(find(auths, 'r.example'), password('app', '4'), '~/.dockercfg')
  const helpers = { auths, credHelpers: { 'r.example': 'ecr' }, credsStore: 'pass' }
  t.strictSame(find(helpers, 'r.example'), { kind: 'helper', name: 'ecr' })
  t.strictSame(find(helpers, 'docker.io'), password('hub', '5'))
  t.strictSame(find(helpers, 'unknown.example'), { kind: 'helper', name: 'pass' })
  for (const file of ['x', [], null, 5]) t.equal(find(file, 'a'), 'unusable')
})

t.test('the order of the files', async (t) => {
  const entry = (name: string): string =>
    JSON.stringify({ auths: { h: { auth: pair(`${name}:x`) } } })
  const home = directoryOf(t, {
    'run/containers/auth.json': entry('run'),
    'config/containers/auth.json': entry('config'),
    'docker/config.json': entry('docker'),
    'home/.dockercfg': JSON.stringify({ h: { auth: pair('old:x') } }),
    other: entry('named'),
    broken: '{"auths": {"h": {"auth": "c2VjcmV0"',
  })
  const env: NodeJS.ProcessEnv = { HOME: join(home, 'home') }
  const who = async (): Promise<unknown> =>
    ((await findCredentials('h', 'a', { env })) as { username?: string } | undefined)?.username
  t.equal(await who(), 'old')
  env['DOCKER_CONFIG'] = join(home, 'docker')
  t.equal(await who(), 'docker')
  env['XDG_CONFIG_HOME'] = join(home, 'config')
  t.equal(await who(), 'config')
  env['XDG_RUNTIME_DIR'] = join(home, 'run')
  t.equal(await who(), 'run')
  env['REGISTRY_AUTH_FILE'] = join(home, 'other')
  t.equal(await who(), 'named')
  const missing = { authFile: join(home, 'none'), env }
  await t.rejects(findCredentials('h', 'a', missing), {
    code: 'REGISTRY_DENIED',
    message: /no such file/,
  })
  const error = await findCredentials('h', 'a', { authFile: join(home, 'broken'), env }).catch(
    (cause: unknown) => cause,
  )
  t.match(error, { code: 'REGISTRY_DENIED', message: /not JSON of that kind$/ })
  t.notMatch(JSON.stringify([String(error), (error as Error).cause]), /c2Vj/, 'quotes nothing')
})

t.test('credential helpers', async (t) => {
  const dir = directoryOf(t, { 'config.json': JSON.stringify({ credsStore: 'fake' }) })
  const helper = (script: string): void => {
    const path = join(dir, 'docker-credential-fake')
    writeFileSync(path, `#!/bin/sh\nread server; echo "$*" > ${dir}/arguments\n${script}\n`)
    chmodSync(path, 0o755)
  }
  const env = { PATH: `${dir}:${process.env['PATH'] ?? ''}`, DOCKER_CONFIG: dir, HOME: dir }
  const find = (host: string): Promise<unknown> => findCredentials(host, 'a', { env })
  helper(
    `echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"u@$server\\",\\"Secret\\":\\"s\\"}"`,
  )
  t.match(await find('r.example:5000'), { username: 'u@r.example:5000', password: 's' })
  t.match(await find('docker.io'), { username: 'u@https://index.docker.io/v1/' })
  helper('echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"identity\\"}"')
  t.strictSame(await find('r'), { kind: 'identity', token: 'identity' })
  helper('echo "credentials not found in native keychain"; exit 1')
  t.equal(await find('r'), undefined)
  helper('echo leaked-secret; exit 3')
  const error = await find('r').catch((cause: unknown) => cause)
  t.match(error, { code: 'REGISTRY_DENIED', message: /helper "fake": it ended with status 3$/ })
  helper('echo leaked-secret')
  await t.rejects(find('r'), { message: /its answer is not what the protocol says$/ })
  writeFileSync(join(dir, 'config.json'), JSON.stringify({ credsStore: '../../bin/evil' }))
  await t.rejects(find('r'), { message: /not the name of a program$/ })
  writeFileSync(join(dir, 'config.json'), JSON.stringify({ credsStore: 'none' }))
  await t.rejects(find('r'), { message: /cannot be started$/ })
})

t.test('tokens', async (t) => {
  const registry = await FaultRegistry.start(t, {
    auth: { kind: 'bearer', users: { me: PASSWORD }, identityToken: 'identity', lifeMs: 800 },
  })
  registry.pushBlob(blob)
  const dir = directoryOf(t, {
    good: JSON.stringify({ auths: { [registry.host]: { auth: pair(`me:${PASSWORD}`) } } }),
    bad: JSON.stringify({ auths: { [registry.host]: { auth: pair('me:wrong-secret') } } }),
    identity: JSON.stringify({ auths: { [registry.host]: { identitytoken: 'identity' } } }),
    bearer: JSON.stringify({ auths: { [registry.host]: { registrytoken: 'made-up-secret' } } }),
  })
  const as = (name: string): ReturnType<typeof client> =>
    client(t, `${registry.host}/org/app`, { authFile: join(dir, name) })

  const known = as('good')
  await Promise.all(Array.from({ length: 10 }, () => readAll(known, blob)))
  t.equal(registry.count('token'), 1, 'one token for all')
  t.match(
    registry.requests.find(({ kind }) => kind === 'token')?.path,
    /scope=repository%3Aorg%2Fapp%3Apull/,
  )
  await sleep(850)
  t.ok((await readAll(known, blob)).equals(blob), 'a token that ended early is replaced')
  t.equal(registry.count('token'), 2)

  registry.options = {
    auth: { kind: 'bearer', users: { me: PASSWORD }, lifeMs: 5000, expiresIn: 1 },
  }
  const careful = as('good')
  await readAll(careful, blob)
  const refused = registry.count('blob')
  await sleep(1000)
  await readAll(careful, blob)
  t.equal(registry.count('blob'), refused + 1, 'a token is replaced before it ends')

  registry.options = { auth: { kind: 'bearer', users: {}, identityToken: 'identity' } }
  t.ok((await readAll(as('identity'), blob)).equals(blob))
  for (const name of ['bad', 'bearer', 'none']) {
    const authFile = name === 'none' ? undefined : join(dir, name)
    const refused = client(t, `${registry.host}/org/app`, { authFile })
    const error: unknown = await readAll(refused, blob).catch((cause: unknown) => cause)
    t.match(error, { code: 'REGISTRY_DENIED', message: /status 401, / }, name)
    t.notMatch(String(error), /secret/)
  }
})

t.test('a token that breaks off', async (t) => {
  const registry = await FaultRegistry.start(t, {
    auth: { kind: 'bearer' },
    fault: ({ kind, repeats }) => (kind === 'token' && repeats < 2 ? { cutAfter: 5 } : undefined),
  })
  registry.pushBlob(blob)
  t.ok(
    (await readAll(client(t, `${registry.host}/org/app`), blob)).equals(blob),
    'is asked for again',
  )

  registry.options = {
    auth: { kind: 'bearer' },
    fault: ({ kind }) => (kind === 'token' ? { cutAfter: 5 } : undefined),
  }
  await t.rejects(readAll(client(t, `${registry.host}/org/app`), blob), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /^Cannot get a token for /,
  })
})

t.test('name and password, and not those of anybody else', async (t) => {
  const registry = await FaultRegistry.start(t, {
    auth: { kind: 'basic', users: { me: PASSWORD } },
  })
  registry.pushBlob(blob)
  const dir = directoryOf(t, {
    auth: JSON.stringify({ auths: { [registry.host]: { auth: pair(`me:${PASSWORD}`) } } }),
    other: JSON.stringify({ auths: { '127.0.0.1': { auth: pair(`me:${PASSWORD}`) } } }),
  })
  const known = client(t, `${registry.host}/org/app`, { authFile: join(dir, 'auth') })
  t.ok((await readAll(known, blob)).equals(blob))
  t.equal(registry.requests[0]?.authorization, undefined, 'nothing is shown before it is asked for')
  const other = client(t, `${registry.host}/org/app`, { authFile: join(dir, 'other') })
  await t.rejects(readAll(other, blob), {
    code: 'REGISTRY_DENIED',
    message: /authentication required\); log in first: podman login 127\.0\.0\.1:\d+$/,
  })
})

t.test('a realm that nobody should believe', async (t) => {
  const cases: readonly [string, RegExp][] = [
    ['http://169.254.169.254/token', /not reached by https/],
    ['https://169.254.169.254/token', /link-local/],
    ['http://evil.example/token', /evil\.example is not reached by https/],
    ['ftp://a/b', /does not say where/],
    ['', /does not say where/],
    ['https://user:secret@a/b', /holds a password/],
  ]
  for (const [realm, message] of cases) {
    const registry = await FaultRegistry.start(t, { auth: { kind: 'bearer', realm } })
    const from = client(t, `${registry.host}/org/app`, { env: EMPTY_ENV })
    await t.rejects(readAll(from, blob), { message }, realm)
  }
})

t.test('challenges that cannot be met', async (t) => {
  const headers = { 'www-authenticate': 'Negotiate' }
  const registry = await FaultRegistry.start(t, { fault: () => ({ status: 401, headers }) })
  await t.rejects(readAll(client(t, `${registry.host}/a`), blob), { code: 'REGISTRY_DENIED' })
  t.equal(registry.requests.length, 1)
})
