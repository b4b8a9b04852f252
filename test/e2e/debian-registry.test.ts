// The Debian image in docker-registry, pushed there by skopeo, with layers of every kind: mounted by name it is the tree that umoci
// unpacks, and a program of it runs. Long: four copies of some 220 MB and one of 580 are pushed.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { cliFixture } from '../helpers/cli-fixture.js'
import {
  DEBIAN_IMAGES,
  isKnownToUmoci,
  umociTree,
  whyNoDebianImage,
} from '../helpers/debian-image.js'
import { missingTool, startDockerRegistry } from '../helpers/docker-registry.js'
import { runTool } from '../helpers/mounted-tree.js'
import { diffTrees, snapshotTree } from '../helpers/trees.js'

const LAYOUT = join(DEBIAN_IMAGES, 'layout')
const STARGZ = join(DEBIAN_IMAGES, 'estargz')

interface Form {
  readonly layout: string
  /** How `status` says that its layers are had. */
  readonly mode: 'streamed' | 'lazy'
  /** What umoci unpacks the same tree from, where that is not the image with gzip layers. */
  readonly oracle?: string
}

const FORMS: Readonly<Record<string, Form>> = {
  gzip: { layout: LAYOUT, mode: 'streamed' },
  zstd: { layout: join(DEBIAN_IMAGES, 'zstd'), mode: 'streamed' },
  // Its layers have some files more: landmarks and tables of contents.
  estargz: { layout: STARGZ, mode: 'lazy', oracle: STARGZ },
  chunked: { layout: join(DEBIAN_IMAGES, 'chunked'), mode: 'lazy' },
}

const skip =
  (process.env['OCIMOUNT_LONG_TESTS'] === undefined &&
    'it takes long, OCIMOUNT_LONG_TESTS=1 runs it') ||
  whyNoDebianImage() ||
  missingTool(['docker-registry', 'crun', 'go']) ||
  whyNoLazyImages()

function whyNoLazyImages(): string | false {
  if (existsSync(STARGZ)) return false
  const made = spawnSync(process.execPath, ['scripts/make-lazy-images.mjs', DEBIAN_IMAGES])
  return made.status !== 0 && `the image could not be made: ${made.stderr.toString()}`
}

t.test('a Debian image in docker-registry', { skip, timeout: 900_000 }, async (t) => {
  const { dir } = cliFixture(t)
  const host = await startDockerRegistry(t, dir)
  const plain = join(dir, 'plain')
  const keep = ['--dest-oci-accept-uncompressed-layers']
  await skopeo(...keep, `docker-archive:${DEBIAN_IMAGES}/app.docker.tar`, `oci:${plain}:app`)
  const forms = { ...FORMS, uncompressed: { layout: plain, mode: 'streamed' } as Form }
  const trees = new Map<string, ReturnType<typeof umociTree>>()
  for (const [form, { layout, mode, oracle = LAYOUT }] of Object.entries(forms)) {
    const name = `${host}/org/${form}:v1`
    // As it is: skopeo would pack what is not.
    await skopeo('--preserve-digests', `oci:${layout}:app`, `docker://${name}`)
    const expected = trees.get(oracle) ?? umociTree(oracle, join(dir, `bundle-${trees.size}`))
    trees.set(oracle, expected)

    await t.test(`${form} equals umoci unpack, and runs`, async (t: Test) => {
      const fixture = cliFixture(t)
      const ocimount = async (...args: string[]): Promise<string> => {
        const { status, stdout, stderr } = await fixture.ocimount(args)
        t.equal(status, 0, stderr)
        return stdout
      }
      const mountpoint = fixture.mountpoint()
      await ocimount(name, mountpoint)
      t.match(await ocimount('status', mountpoint), new RegExp(`^Layer 1: .*, ${mode}, `, 'm'))
      t.strictSame(diffTrees(await snapshotTree(mountpoint), await expected, isKnownToUmoci), [])
      await ocimount('umount', mountpoint)

      const fresh = ['--cache-dir', join(fixture.dir, 'another')]
      const program = 'import numpy; print(numpy.arange(5).sum())'
      t.equal(await ocimount('run', ...fresh, name, '--', 'python3', '-c', program), '10\n')
    })
  }
})

async function skopeo(...args: string[]): Promise<void> {
  const insecure = ['--dest-tls-verify=false', ...args]
  const isPush = args.some((arg) => arg.startsWith('docker://'))
  await runTool('skopeo', ['--insecure-policy', 'copy', '-q', ...(isPush ? insecure : args)])
}
