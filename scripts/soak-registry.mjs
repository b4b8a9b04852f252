// Pulls, kills, takes registries away and compares, for as long as it is told to; ends at the first thing that is wrong. As
// root, after npm run build and npm run build:test; not a part of the tests.
//
//   node scripts/soak-registry.mjs [--kills 50] [--seconds 60] [--only kills,tokens,outage,offline,shared]
//
// kills    kill -9 during a pull, at random moments: the cache verifies after each
// tokens   a token that lives 2 s, connections that break and storage addresses that run out while images are mounted and read
// outage   a registry that goes down during a pull and comes back, and one that stays down
// offline  a pull, and then a mount without the registry
// shared   20 mounts at once of images that share their base, which is fetched once

import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { buildImage, zstdMissing } from '../.build/test/test/helpers/build-image.js'
import { FaultRegistry } from '../.build/test/test/helpers/fault-registry.js'
import { simpleLayer } from '../.build/test/test/helpers/tar-members.js'

const { values: options } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '60' },
    only: { type: 'string', default: 'kills,tokens,outage,offline,shared' },
  },
})
const command = fileURLToPath(new URL('../dist/program/main.js', import.meta.url))
const work = mkdtempSync('/var/tmp/ocimount-soak-')
const ends = []
const platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' }
const PACKED = zstdMissing() === false ? 'zstd' : 'gzip'

/** Starts the command; `done` gives its exit status and what it said. */
function start(cache, ...args) {
  const env = { ...process.env, HOME: work, OCIMOUNT_RUNTIME_DIR: join(work, 'run') }
  const child = spawn(process.execPath, [command, ...args, '--cache-dir', join(work, cache)], {
    env,
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += text))
  const done = new Promise((resolve) => {
    child.on('close', (status) => resolve({ status, said }))
  })
  return { child, done }
}

async function ocimount(cache, ...args) {
  const { status, said } = await start(cache, ...args).done
  check(status === 0, `${args.join(' ')}: exit status ${status}: ${said}`)
  return said
}

function check(isRight, what) {
  if (!isRight) throw new Error(what)
}

/** `megabytes` of noise in each layer, so that no compression makes it smaller. */
function image(megabytes, forms = ['gzip', 'none', PACKED]) {
  const layers = forms.map((compression, n) => {
    const files = Object.fromEntries(
      Array.from({ length: 8 }, (_, k) => [`d/${n}-${k}`, randomBytes((megabytes << 20) / 8)]),
    )
    return { tar: simpleLayer({ 'd/': '', ...files }), compression, files }
  })
  const built = buildImage({ layers, platform })
  const files = Object.assign({}, ...layers.map((layer) => layer.files))
  return { built, files, bytes: built.layers.reduce((sum, { stored }) => sum + stored.length, 0) }
}

async function registry(faults, ...images) {
  const server = await FaultRegistry.start({ teardown: (end) => ends.push(end) }, faults)
  images.forEach(({ built }, n) => server.push('org/app', built, `v${n}`))
  return server
}

async function withMount(cache, name, use, ...flags) {
  const mountpoint = mkdtempSync(join(work, 'mnt-'))
  await ocimount(cache, 'mount', ...flags, name, mountpoint)
  try {
    return await use(mountpoint)
  } finally {
    await ocimount(cache, 'umount', mountpoint)
  }
}

function compare(mountpoint, files) {
  const hash = (bytes) => createHash('sha256').update(bytes).digest('hex')
  check(readdirSync(join(mountpoint, 'd')).length === Object.keys(files).length, 'other files')
  for (const [path, bytes] of Object.entries(files)) {
    check(hash(readFileSync(join(mountpoint, path))) === hash(bytes), `${path} has other bytes`)
  }
}

const SHOWS = {
  async kills() {
    const app = image(4)
    const server = await registry({ bytesPerSecond: 4e6 }, app)
    const name = `${server.host}/org/app:v0`
    const begin = performance.now()
    await ocimount('kills', 'pull', name)
    const longestMs = performance.now() - begin
    let whole = 1
    rmSync(join(work, 'kills'), { recursive: true })
    for (let n = 0; n < Number(options.kills); n++) {
      const { child, done } = start('kills', 'pull', name)
      void sleep(Math.random() * longestMs).then(() => child.kill('SIGKILL'))
      const { status } = await done
      await ocimount('kills', 'cache', 'verify')
      if (status !== 0) continue
      // It was faster, and the next one begins anew.
      whole++
      rmSync(join(work, 'kills'), { recursive: true })
    }
    await ocimount('kills', 'pull', name)
    await server.stop()
    await withMount('kills', name, (at) => compare(at, app.files), '--offline')
    const times = (server.bytesSent / app.bytes / (whole + 1)).toFixed(2)
    return `${options.kills} pulls, ${whole - 1} of them ended before they were killed; ${times} times the image was sent for each whole one`
  },

  async tokens() {
    const app = image(4)
    const auth = { kind: 'bearer', lifeMs: 2000, expiresIn: 2 }
    const cuts = ({ kind }) => (kind === 'storage' ? { cutAfter: 1_500_000 } : undefined)
    const faults = { auth, bytesPerSecond: 2e6, storageLifeMs: 2000, fault: cuts }
    const server = await registry(faults, app)
    const end = performance.now() + Number(options.seconds) * 1000
    let rounds = 0
    for (; performance.now() < end; rounds++) {
      await withMount('tokens', `${server.host}/org/app:v0`, async (at) => {
        for (let n = 0; n < 5; n++, await sleep(500)) compare(at, app.files)
      })
      rmSync(join(work, 'tokens'), { recursive: true })
    }
    return `${options.seconds} s: ${rounds} mounts, ${server.count('token')} tokens, ${server.count('storage')} connections`
  },

  async outage() {
    const app = image(2)
    const faults = { bytesPerSecond: 1e6 }
    let server = await registry(faults, app)
    const name = `${server.host}/org/app:v0`
    const port = Number(server.host.split(':')[1])
    const { done } = start('outage', 'pull', name)
    while (server.bytesSent < app.bytes / 3) await sleep(20)
    await server.stop()
    await sleep(3000)
    server = await registry({ ...faults, port }, app)
    const { status, said } = await done
    check(status === 0, `a registry that came back: exit status ${status}: ${said}`)
    await ocimount('outage', 'cache', 'verify')

    const other = image(2)
    server.push('org/app', other.built, 'other')
    const begin = performance.now()
    const gone = start('outage', 'pull', `${server.host}/org/app:other`)
    const sent = server.bytesSent
    while (server.bytesSent < sent + other.bytes / 3) await sleep(20)
    await server.stop()
    const outcome = await gone.done
    check(
      outcome.status === 7,
      `one that stays down: exit status ${outcome.status}: ${outcome.said}`,
    )
    const seconds = ((performance.now() - begin) / 1000).toFixed(1)
    await withMount('outage', name, (at) => compare(at, app.files))
    return `back after 3 s: pulled; stays down: exit status 7 after ${seconds} s, and what is here is mounted`
  },

  async offline() {
    const app = image(2)
    const server = await registry({}, app)
    const name = `${server.host}/org/app:v0`
    await ocimount('offline', 'pull', name)
    await server.stop()
    await withMount('offline', name, (at) => compare(at, app.files), '--offline')
    return 'read whole'
  },

  async shared() {
    const base = {
      tar: simpleLayer({ 'd/': '', 'd/base': randomBytes(8 << 20) }),
      compression: 'gzip',
    }
    const images = Array.from({ length: 20 }, (_, n) => {
      const own = { tar: simpleLayer({ [`own-${n}`]: String(n) }) }
      return { built: buildImage({ layers: [base, own], platform }) }
    })
    const server = await registry({ latencyMs: 20 }, ...images)
    await Promise.all(
      images.map((_, n) =>
        withMount('shared', `${server.host}/org/app:v${n}`, (at) => {
          check(
            readFileSync(join(at, `own-${n}`), 'utf8') === String(n),
            `image ${n} is another one`,
          )
        }),
      ),
    )
    const [{ digest }] = images[0].built.layers
    const asked = server.count('blob', digest)
    check(asked === 1, `the base was asked for ${asked} times`)
    return '20 mounts, the base fetched once'
  },
}

mkdirSync(join(work, 'run'), { mode: 0o700 })
try {
  for (const show of options.only.split(',')) {
    check(show in SHOWS, `--only ${show}: there are ${Object.keys(SHOWS).join(', ')}`)
    console.log(`soak-registry: ${show}: ${await SHOWS[show]()}`)
  }
} finally {
  for (const end of ends) await end()
  rmSync(work, { recursive: true, force: true })
}
