// The commands against registries: one that misbehaves as it is told, and Debian's docker-registry with images that skopeo
// has pushed.

import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { buildImage, OCI, sha256, zstdMissing } from '../helpers/build-image.js'
import type { BuiltImage, LayerCompression } from '../helpers/build-image.js'
import { makeCertificate } from '../helpers/certificate.js'
import { becomes, leavesNothing, refuses } from '../helpers/cli-checks.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { freePort, isListening, missingTool } from '../helpers/docker-registry.js'
import { FaultRegistry } from '../helpers/fault-registry.js'
import { spawnCli, whyNoMounts } from '../helpers/run-cli.js'
import { simpleLayer } from '../helpers/tar-members.js'
import { writeImage } from '../helpers/write-image.js'

const PASSWORD = 'hunter2-very-secret'
const platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' }

function appImage(compressions: readonly LayerCompression[] = ['gzip', 'none']): BuiltImage {
  const layers = compressions.map((compression, n) => ({
    tar: simpleLayer({ 'etc/': '', [`etc/${n}`]: randomBytes(50_000).toString('hex') }),
    compression,
  }))
  return buildImage({ layers, platform, tags: ['app:v1'] })
}

/** No configuration and no credentials of whoever runs the tests. */
function isolated(t: Parameters<typeof cliFixture>[0]): CliFixture {
  const fixture = cliFixture(t)
  const env = { HOME: fixture.dir, XDG_CONFIG_HOME: fixture.dir, DOCKER_CONFIG: fixture.dir }
  return {
    ...fixture,
    env: { ...fixture.env, ...env, CONTAINERS_REGISTRIES_CONF: '/dev/null' },
    ocimount: (args, options = {}) =>
      fixture.ocimount(args, { ...options, env: { ...env, ...options.env } }),
  }
}

t.test('inspect --referrers', async (t) => {
  const fixture = isolated(t)
  const registry = await FaultRegistry.start(t)
  const built = appImage()
  registry.push('org/app', built, 'v1')
  const name = `${registry.host}/org/app:v1`
  const empty = { mediaType: 'application/vnd.oci.empty.v1+json', digest: sha256('{}'), size: 2 }
  const refer = (digest: string): { bytes: Buffer; descriptor: object } => {
    const head = { schemaVersion: 2, mediaType: OCI.manifest, artifactType: 'a/sbom' }
    const subject = { mediaType: OCI.manifest, digest, size: built.manifest.length }
    const annotations = { 'org.opencontainers.image.title': `parts${HOSTILE}` }
    const document = { ...head, config: empty, layers: [empty], subject, annotations }
    const bytes = Buffer.from(JSON.stringify(document))
    registry.pushManifest('org/app', bytes)
    return { bytes, descriptor: { ...empty, mediaType: OCI.manifest, ...sizeAndDigest(bytes) } }
  }
  const right = refer(built.manifestDigest)
  const lying = refer(sha256('another image'))
  registry.options = {
    fault: ({ path }) =>
      path.includes('/referrers/')
        ? {
            status: 200,
            body: JSON.stringify({
              schemaVersion: 2,
              mediaType: OCI.index,
              manifests: [right.descriptor, lying.descriptor],
            }),
          }
        : undefined,
  }
  const { status, stdout, stderr } = await fixture.ocimount(['inspect', name, '--referrers'])
  t.equal(status, 0)
  const line = stdout.split('\n').filter((text) => text.startsWith(sha256(right.bytes)))
  t.match(line, [/^sha256:[0-9a-f]+ +a\/sbom +\d+ B +parts\\x1b/])
  t.notMatch(stdout, sha256(lying.bytes))
  t.match(stderr, /warning: sha256:[0-9a-f]+ is listed as referring to .*, but refers to sha256:/)
  const json = ['inspect', name, '--referrers', '--artifact-type', 'a/sbom', '--json']
  const shown = await fixture.ocimount(json)
  t.match(JSON.parse(shown.stdout), {
    referrers: [
      { subject: built.manifestDigest, digest: sha256(right.bytes), artifactType: 'a/sbom' },
    ],
  })
  const none = ['inspect', name, '--referrers', '--artifact-type', 'a/none', '--quiet']
  t.match((await fixture.ocimount(none)).stdout, /\nNothing refers to it\.\n$/)

  await refuses(t, fixture, ['inspect', name, '--artifact-type', 'a/sbom'], {
    status: 2,
    why: /--artifact-type: it is of use with --referrers/,
  })
  const archive = writeImage(join(fixture.dir, 'app.tar'), [built], { form: 'oci-archive' })
  await refuses(t, fixture, ['inspect', archive, '--referrers'], {
    status: 2,
    why: /it is not in a registry/,
  })
  await refuses(t, fixture, ['inspect', name, '--referrers', '--offline'], {
    status: 4,
    why: /--offline was given/,
  })
})

const HOSTILE = '\u001b[2J'

function sizeAndDigest(bytes: Buffer): { size: number; digest: string } {
  return { size: bytes.length, digest: sha256(bytes) }
}

t.test('mount, look, pull; then without the registry', { skip: whyNoMounts() }, async (t) => {
  const fixture = isolated(t)
  const registry = await FaultRegistry.start(t, {
    auth: { kind: 'bearer', users: { me: PASSWORD } },
  })
  const built = appImage()
  registry.push('org/app', built, 'v1')
  const name = `${registry.host}/org/app:v1`
  const authfile = join(fixture.dir, 'auth.json')
  const auth = Buffer.from(`me:${PASSWORD}`).toString('base64')
  writeFileSync(authfile, JSON.stringify({ auths: { [registry.host]: { auth } } }))
  const mountpoint = fixture.mountpoint()

  await refuses(t, fixture, [name, mountpoint], {
    status: 7,
    why: /authentication required|incorrect/,
  })
  const wrong = [`${registry.host}/org/app:v2`, mountpoint, '--authfile', authfile]
  await refuses(t, fixture, wrong, { status: 4, why: /MANIFEST_UNKNOWN: manifest unknown/ })
  await refuses(t, fixture, ['pull', 'app.tar'], { status: 2, why: /not the name of an image/ })
  await leavesNothing(t, fixture)

  const said: string[] = []
  const run = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await fixture.ocimount(args)
    t.equal(status, 0, stderr)
    said.push(stdout, stderr)
    return stdout
  }
  const inspected = await run('inspect', '--json', name, '--authfile', authfile)
  t.match(JSON.parse(inspected), { name, manifestDigest: built.manifestDigest })
  t.equal(
    registry.count('blob', built.layers[0]?.digest),
    0,
    'no layer is fetched to look at documents',
  )
  const digest = built.layers[0]?.digest ?? ''
  registry.options = {
    ...registry.options,
    fault: ({ path, range }) =>
      path.includes(digest) && range === undefined ? { cutAfter: 1000 } : undefined,
  }
  await run(`docker://${name}`, mountpoint, '--authfile', authfile, '--log-level', 'debug')
  t.match(readdirSync(join(mountpoint, 'etc')).sort(), ['0', '1'])
  t.equal(await run('ls', name, '/etc', '--authfile', authfile), '0\n1\n')
  const stored = built.layers.map((layer) => layer.stored.length)
  t.match(JSON.parse(await run('status', mountpoint, '--json')), {
    registry: {
      layers: stored.map((size) => ({ size, fetched: size })),
      lastError: { message: /^Cannot pull blob / },
    },
  })
  t.match(
    await run('status', mountpoint),
    /^Registry: .* fetched for layers of .*\nLast failure: Cannot pull blob /m,
  )
  await run('validate', name, '--authfile', authfile)
  await run('umount', mountpoint)
  const pulled = JSON.parse(
    await run('pull', '--json', '--pin', name, '--authfile', authfile),
  ) as unknown
  t.match(pulled, [{ name, digest: built.manifestDigest, layers: 2, pinned: true }])

  await registry.stop()
  await run('cache', 'prune', '--max-size', '0')
  await run(name, mountpoint, '--offline')
  const content = readFileSync(join(mountpoint, 'etc/0'))
  t.equal(content.length, 100_000)
  await run('umount', mountpoint)
  t.equal(
    await run('cat', name, '/etc/0', '--authfile', authfile),
    content.toString(),
    'a registry that is down',
  )
  t.match(said.at(-1), /warning: Cannot pull .* using sha256:/)
  await run('pull', '--no-pin', '--offline', name)
  await run('cache', 'prune', '--max-size', '0')
  await refuses(t, fixture, ['ls', name, '--offline'], { status: 4, why: /not in the cache/ })
  await leavesNothing(t, fixture)

  const files = execFileSync('grep', ['-rlaF', '-e', PASSWORD, '-e', auth, fixture.dir], {
    encoding: 'utf8',
  })
  t.equal(files, `${authfile}\n`, 'the secret is in no other file')
  t.notMatch(said.join(''), new RegExp(`${PASSWORD}|${auth}`))
})

t.test('a pull that is killed, again and again', async (t) => {
  const fixture = isolated(t)
  const built = appImage(['gzip', 'none', 'gzip'])
  const registry = await FaultRegistry.start(t, { bytesPerSecond: 400_000 })
  registry.push('org/app', built, 'v1')
  const name = `${registry.host}/org/app:v1`
  const total = built.layers.reduce((sum, { stored }) => sum + stored.length, 0)
  for (let n = 0; n < 5; n++) {
    const asked = registry.count('blob')
    const child = spawnCli(['pull', name], { env: fixture.env })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    await becomes(() => registry.count('blob') > asked || child.exitCode !== null)
    await sleep(Math.random() * 120)
    child.kill('SIGKILL')
    await ended
  }
  registry.options = {}
  const { status, stderr } = await fixture.ocimount(['pull', name])
  t.equal(status, 0, stderr)
  t.ok(registry.bytesSent < total * 3, 'what was there was not fetched each time')
  const verified = await fixture.ocimount(['cache', 'verify'])
  t.equal(verified.status, 0, verified.stderr)
  t.equal((await fixture.ocimount(['ls', name, '/etc', '--offline'])).stdout, '0\n1\n2\n')
  const cache = fixture.env['OCIMOUNT_CACHE_DIR'] ?? ''
  const partial = join(cache, 'partial/sha256')
  t.strictSame(readdirSync(partial), [], 'nothing incomplete is left')

  // As by a process that is killed when it has given a blob its name.
  const isManifest = (blob: string): boolean => built.manifestDigest.endsWith(blob)
  const blobs = readdirSync(join(cache, 'blobs/sha256')).filter((blob) => !isManifest(blob))
  t.equal(blobs.length, 4, 'the config and three layers')
  for (const blob of blobs) mkdirSync(join(partial, blob))
  t.equal((await fixture.ocimount(['pull', name])).status, 0)
  t.strictSame(readdirSync(partial), [], 'the next pull tidies up')
})

t.test(
  'authorities of NODE_EXTRA_CA_CERTS, which the server has not read as it started',
  { skip: whyNoMounts() || missingTool(['openssl']) },
  async (t) => {
    const fixture = isolated(t)
    const { key, cert } = makeCertificate(fixture.dir)
    const tls = { key: readFileSync(key), cert: readFileSync(cert) }
    const registry = await FaultRegistry.start(t, { tls })
    registry.push('org/app', appImage(), 'v1')
    const mountpoint = fixture.mountpoint()
    const args = [`${registry.host}/org/app:v1`, mountpoint]
    const refused = await fixture.ocimount(args, { env: { NODE_EXTRA_CA_CERTS: '' } })
    t.match(refused, { status: 7, stderr: /its certificate is refused/ })
    const { status, stderr } = await fixture.ocimount(args, { env: { NODE_EXTRA_CA_CERTS: cert } })
    t.equal(status, 0, stderr)
    const { pid } = JSON.parse(
      (await fixture.ocimount(['status', '--json', mountpoint])).stdout,
    ) as {
      pid: number
    }
    const begun = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
    t.notOk(begun.some((entry) => entry.startsWith('NODE_EXTRA_CA_CERTS')))
    t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
  },
)

const TOOLS = ['docker-registry', 'skopeo', 'htpasswd', 'openssl']

t.test('docker-registry', { skip: missingTool(TOOLS) }, async (t) => {
  const fixture = isolated(t)
  const { dir } = fixture
  const compressions: LayerCompression[] =
    zstdMissing() === false ? ['gzip', 'zstd', 'none'] : ['gzip', 'none']
  const built = appImage(compressions)
  const archive = writeImage(join(dir, 'app.tar'), [built], { form: 'oci-archive' })
  const { key, cert } = makeCertificate(dir)
  const users = execFileSync('htpasswd', ['-Bbn', 'me', PASSWORD])
  writeFileSync(join(dir, 'users'), users)
  const auth = Buffer.from(`me:${PASSWORD}`).toString('base64')
  const listed = (await fixture.ocimount(['ls', '-R', '--json', archive])).stdout
  for (const isOpen of [true, false]) {
    const port = await freePort()
    const host = `127.0.0.1:${port}`
    writeFileSync(
      join(dir, 'config.yml'),
      `version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: ${join(dir, `store-${port}`)} } }
http:
  addr: ${host}
${isOpen ? '' : `  tls: { certificate: ${cert}, key: ${key} }\nauth: { htpasswd: { realm: here, path: ${join(dir, 'users')} } }`}
`,
    )
    const server = spawn('docker-registry', ['serve', join(dir, 'config.yml')], { stdio: 'ignore' })
    t.teardown(() => server.kill())
    await becomes(() => isListening(port))
    execFileSync(
      'skopeo',
      [
        ...['--insecure-policy', 'copy', '-q', '--dest-tls-verify=false'],
        ...(isOpen ? [] : ['--dest-creds', `me:${PASSWORD}`]),
        ...[`oci-archive:${archive}`, `docker://${host}/org/app:v1`],
      ],
      { stdio: 'pipe' },
    )
    const name = `${host}/org/app:v1`
    if (!isOpen) {
      await refuses(t, fixture, ['ls', name], { status: 7, why: /its certificate is refused/ })
      const place = join(dir, '.config/containers/certs.d', host)
      execFileSync('mkdir', ['-p', place])
      execFileSync('cp', [cert, join(place, 'ca.crt')])
      await refuses(t, fixture, ['ls', name], { status: 7, why: /log in first: podman login/ })
      writeFileSync(join(dir, 'config.json'), JSON.stringify({ auths: { [host]: { auth } } }))
    }
    const { status, stdout, stderr } = await fixture.ocimount(['ls', '-R', '--json', name])
    t.equal(status, 0, stderr)
    t.equal(stdout, listed, 'the same tree as out of the archive')
    const missing = `${host}/org/app:none`
    await refuses(t, fixture, ['ls', missing], {
      status: 4,
      why: /MANIFEST_UNKNOWN: manifest unknown/,
    })
    await refuses(t, fixture, ['ls', `${host}/none`], { status: 4, why: /\(status 404/ })
    server.kill()
    t.equal((await fixture.ocimount(['ls', '-R', '--json', '--offline', name])).stdout, listed)
  }
  // Other tools find in the cache what they know.
  const cache = fixture.env['OCIMOUNT_CACHE_DIR'] ?? ''
  const names = readFileSync(join(cache, 'index.json'), 'utf8').match(
    /127\.0\.0\.1:\d+\/org\/app:v1/g,
  )
  t.equal(names?.length, 2)
  const seen = execFileSync('skopeo', ['inspect', '--raw', `oci:${cache}:${names?.[0] ?? ''}`])
  t.ok(seen.length > 0)
})
