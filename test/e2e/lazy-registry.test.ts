// Images whose layers are read in parts: mounted after a request or two, equal to what is pulled whole, and never anything else than
// that, whatever the registry does meanwhile.

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { buildImage, zstdMissing, type BuiltImage } from '../helpers/build-image.js'
import {
  buildLazyLayer,
  lazyFile,
  type BuiltLazyLayer,
  type LazyLayerSpec,
} from '../helpers/build-stargz.js'
import { leavesNothing } from '../helpers/cli-checks.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { contentOf, describeMounted, runTool } from '../helpers/mounted-tree.js'
import { FaultRegistry, type FaultRegistryOptions } from '../helpers/fault-registry.js'
import { layerLikeBytes, slownessLine } from '../helpers/native-addon.js'
import { whyNoMounts } from '../helpers/run-cli.js'
import { simpleLayer } from '../helpers/tar-members.js'
import { sampleMembers } from '../layer/lazy.js'

const platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' }

const BIG = layerLikeBytes(5_000_000, 7)

function lazyLayer(spec: Partial<LazyLayerSpec> = {}): BuiltLazyLayer {
  const members = [...sampleMembers(), lazyFile('srv/big', BIG)]
  return buildLazyLayer({ format: 'estargz', chunkSize: 200_000, members, ...spec })
}

function imageOf(
  ...layers: { tar: Buffer; stored?: Buffer; annotations?: Record<string, string> }[]
): BuiltImage {
  return buildImage({
    layers: layers.map((layer) => ({ compression: 'gzip' as const, ...layer })),
    platform,
  })
}

interface Place {
  readonly fixture: CliFixture
  readonly registry: FaultRegistry
  readonly name: string
  readonly mountpoint: string
  /** Runs the command, which must succeed, and gives what it says on standard error. */
  readonly ocimount: (...args: string[]) => Promise<string>
}

async function place(
  t: Test,
  image: BuiltImage,
  options: FaultRegistryOptions = {},
): Promise<Place> {
  const fixture = cliFixture(t)
  const env = { HOME: fixture.dir, XDG_CONFIG_HOME: fixture.dir, DOCKER_CONFIG: fixture.dir }
  const isolated = {
    ...fixture,
    ocimount: (args: readonly string[], more = {}) =>
      fixture.ocimount(args, { ...more, env: { ...env, CONTAINERS_REGISTRIES_CONF: '/dev/null' } }),
  }
  const registry = await FaultRegistry.start(t, options)
  registry.push('org/app', image, 'v1')
  return {
    ...{ fixture: isolated, registry, name: `${registry.host}/org/app:v1` },
    mountpoint: fixture.mountpoint(),
    ocimount: async (...args) => {
      const { status, stderr } = await isolated.ocimount(args)
      t.equal(status, 0, stderr)
      return stderr
    },
  }
}

const FORMS: { format: LazyLayerSpec['format']; skip: string | false }[] = [
  { format: 'estargz', skip: false },
  { format: 'zstd:chunked', skip: zstdMissing() },
]

for (const { format, skip } of FORMS) {
  t.test(
    `${format}: mounted in parts, equal to the whole`,
    { skip: whyNoMounts() || skip },
    async (t) => {
      const layer = lazyLayer({ format })
      const base = simpleLayer({ 'usr/': '', 'usr/gone': 'x', 'etc/': '', 'etc/base': 'base\n' })
      const { fixture, registry, name, mountpoint, ocimount } = await place(
        t,
        imageOf({ tar: base }, layer),
      )
      const { stored } = layer
      const said = await ocimount(name, mountpoint, '--prefetch', 'none')
      t.notMatch(said.replace(slownessLine('mounted'), ''), /warning/)
      t.ok(
        registry.bytesSent < stored.length / 10,
        `${registry.bytesSent} of ${stored.length} bytes`,
      )
      t.equal((await contentOf(join(mountpoint, 'usr/small'))).toString(), 'hello\n')
      t.ok(registry.bytesSent < stored.length / 2)
      const lazily = await describeMounted(mountpoint)
      t.ok((await contentOf(join(mountpoint, 'srv/big'))).equals(BIG))
      t.ok(
        registry.bytesSent < 1.1 * stored.length + 70_000,
        `${registry.bytesSent} bytes, no byte twice`,
      )
      await ocimount('umount', mountpoint)

      // All of it is there by now.
      await registry.stop()
      await ocimount(name, mountpoint, '--offline')
      t.equal(await describeMounted(mountpoint), lazily, 'without the registry')
      await ocimount('umount', mountpoint)
      t.match((await fixture.ocimount(['cache', 'verify'])).status, 0)

      const again = await FaultRegistry.start(t)
      const image = imageOf({ tar: base }, layer)
      again.push('org/app', image, 'v1')
      const other = `${again.host}/org/app:v1`
      await ocimount('pull', other)
      t.equal(again.count('blob', image.layers[1]?.digest), 1, 'a pull takes all of it')
      await ocimount(other, mountpoint, '--offline')
      t.equal(await describeMounted(mountpoint), lazily, 'under its DiffID')
      await ocimount('umount', mountpoint)
      await leavesNothing(t, fixture)
    },
  )
}

t.test('a registry that goes wrong under a mount', { skip: whyNoMounts() }, async (t) => {
  const { registry, name, mountpoint, ocimount, fixture } = await place(t, imageOf(lazyLayer()))
  await ocimount(name, mountpoint, '--registry-timeout', '2', '-o', 'prefetch=none')
  const small = join(mountpoint, 'usr/small')
  const big = join(mountpoint, 'srv/big')
  const status = async (): Promise<string> =>
    (await fixture.ocimount(['status', mountpoint])).stdout
  const readBig = async (block: number): Promise<Buffer> =>
    (
      await runTool('dd', [`if=${big}`, 'bs=1000', `skip=${block}`, 'count=1', 'status=none'], {
        encoding: 'buffer',
      })
    ).stdout
  const isRight = (bytes: Buffer, block: number): boolean =>
    bytes.equals(BIG.subarray(block * 1000, block * 1000 + 1000))
  t.equal((await contentOf(small)).toString(), 'hello\n')

  registry.options = { fault: () => ({ status: 503, body: 'busy' }) }
  const began = performance.now()
  await t.rejects(readBig(4900), /Input\/output error/)
  t.ok(performance.now() - began < 15_000, 'within a bounded time')
  t.equal((await contentOf(small)).toString(), 'hello\n', 'what is there goes on')
  t.match(
    await status(),
    /^Layer 0: +toc2:sha256:[0-9a-f]+, lazy, \d\.\d MB of 12 MB in the cache, \d.* fetched by this mount \(requests: \d+, on demand: \d+\)$/m,
  )
  t.match(await status(), /^ {2}Registry: +Cannot .*503/m)

  registry.options = { fault: () => ({ stallAfter: 0 }) }
  await t.rejects(readBig(4900), /Input\/output error/)
  // In two pieces, of which each is waited for once.
  const before = registry.requests.length
  const across = Math.floor((2 * 1024 * 1024) / 1000)
  await t.rejects(readBig(across), /Input\/output error/)
  t.ok(registry.requests.length - before <= 8, `${registry.requests.length - before} requests`)
  registry.options = {}
  t.ok(isRight(await readBig(4900), 4900), 'and when it is back, so is the rest')
  t.notMatch(await status(), /^ {2}Registry/m)

  let busy = 2
  registry.options = { fault: () => (busy-- > 0 ? { status: 503 } : undefined) }
  t.ok(isRight(await readBig(2500), 2500), 'a short trouble is not noticed')
  await ocimount('umount', mountpoint)
})

t.test(
  'what is asked for need not wait for what lies beside it',
  { skip: whyNoMounts() },
  async (t) => {
    const { registry, name, mountpoint, ocimount } = await place(t, imageOf(lazyLayer()))
    await ocimount(name, mountpoint, '--registry-timeout', '2', '-o', 'prefetch=none')
    const read = async (block: number): Promise<Buffer> => {
      const options = ['bs=4096', `skip=${block}`, 'count=1', 'status=none']
      const big = join(mountpoint, 'srv/big')
      return (await runTool('dd', [`if=${big}`, ...options], { encoding: 'buffer' })).stdout
    }
    const at = (block: number): Buffer => BIG.subarray(block * 4096, block * 4096 + 4096)
    let sent = 0
    registry.options = { fault: () => (sent++ === 0 ? undefined : { stallAfter: 0 }) }
    t.ok((await read(650)).equals(at(650)))
    t.ok(sent > 1, 'the rest of the piece was asked for as well')
    registry.options = {}
    t.ok((await read(700)).equals(at(700)), 'and comes when it can')
    await ocimount('umount', mountpoint)
  },
)

t.test('what nobody has asked for yet is fetched meanwhile', { skip: whyNoMounts() }, async (t) => {
  const layer = lazyLayer()
  const { fixture, registry, name, mountpoint, ocimount } = await place(t, imageOf(layer))
  await ocimount(name, mountpoint, '--prefetch', 'all')
  const isWhole = async (): Promise<boolean> =>
    (await fixture.ocimount(['status', mountpoint])).stdout.includes(', lazy, all ')
  let left = 100
  while (!(await isWhole()) && left-- > 0) await sleep(100)
  t.ok(left > 0, 'everything is there')
  await registry.stop()
  t.ok((await contentOf(join(mountpoint, 'srv/big'))).equals(BIG))
  await ocimount('umount', mountpoint)
})
