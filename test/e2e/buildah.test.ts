// An image that another tool has written for reading in parts, on a registry of another make.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { buildLazyLayer, lazyFile } from '../helpers/build-stargz.js'
import { cliFixture } from '../helpers/cli-fixture.js'
import { missingTool, startDockerRegistry } from '../helpers/docker-registry.js'
import { contentOf, describeMounted, runTool } from '../helpers/mounted-tree.js'
import { addonSkipReason, layerLikeBytes, slownessLine } from '../helpers/native-addon.js'
import { whyNoMounts } from '../helpers/run-cli.js'
import { sampleMembers } from '../layer/lazy.js'

const NEEDED = ['docker-registry', 'buildah', 'skopeo', 'zstd', 'tar']
const isRoot = process.getuid?.() === 0
const skip = whyNoMounts() || missingTool(NEEDED) || (!isRoot && 'this needs root')

t.test('zstd:chunked as buildah pushes it to docker-registry', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const { dir } = fixture
  const host = await startDockerRegistry(t, dir)
  const big = layerLikeBytes(5_000_000, 7)
  // A builder has other ideas of whiteouts.
  const members = sampleMembers().filter(({ entry }) => !String(entry['name']).includes('.wh.'))
  const layer = buildLazyLayer({ format: 'estargz', members: [...members, lazyFile('big', big)] })
  const tar = join(dir, 'layer.tar')
  writeFileSync(tar, layer.tar)
  const buildah = async (...args: string[]): Promise<string> => {
    const place = ['--root', join(dir, 'store'), '--runroot', join(dir, 'runroot')]
    const env = { ...process.env, BUILDAH_ISOLATION: 'chroot' }
    const all = [...place, '--storage-driver', 'vfs', ...args]
    return (await runTool('buildah', all, { env })).stdout.trim()
  }
  const container = await buildah('from', 'scratch')
  await buildah('add', '-q', container, tar, '/')
  await buildah('commit', '-q', container, 'app')
  const name = `${host}/org/app:v1`
  const push = ['push', '--tls-verify=false', '--compression-format', 'zstd:chunked']
  await buildah(...push, 'app', `docker://${name}`)

  const mountpoint = fixture.mountpoint()
  const mounted = await fixture.ocimount([name, mountpoint])
  t.equal(mounted.status, 0, mounted.stderr)
  t.notMatch(mounted.stderr.replace(slownessLine('mounted'), ''), /warning/)
  const cached = join(fixture.env['OCIMOUNT_CACHE_DIR'] ?? '', 'layers')
  t.match(readdirSync(cached), [/^toc\d-sha256-/], 'it is read in parts')
  t.ok((await contentOf(join(mountpoint, 'big'))).equals(big))

  const layout = join(dir, 'layout')
  const copy = ['--insecure-policy', 'copy', '-q', '--src-tls-verify=false']
  await runTool('skopeo', [...copy, `docker://${name}`, `dir:${layout}`])
  const manifest = JSON.parse(readFileSync(join(layout, 'manifest.json'), 'utf8')) as {
    layers: { digest: string }[]
  }
  const blob = join(layout, manifest.layers[0]?.digest.slice('sha256:'.length) ?? '')
  const unpacked = fixture.mountpoint('unpacked')
  await runTool('sh', ['-c', `zstd -dc ${blob} | tar -xp -C ${unpacked}`])
  const want = await describeMounted(unpacked)
  // The driver fuse-native shows no time before 1970.
  const shown = addonSkipReason() === false ? want : want.replace(/ -\d+\.\d+ /g, ' 0.0000000000 ')
  t.equal(await describeMounted(mountpoint), shown)
  t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
})
