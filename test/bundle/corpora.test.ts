// Real images: what is mapped equals what umoci maps, and every config validates against the runtime-spec's schema. Where we
// differ on purpose:
//
//   C-013  umoci writes empty annotations for fields that are not there
//   C-048  umoci leaves the primary group out of the supplementary ones
//   env    its defaults are its own; with --profile umoci ours are the same

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { convertConfig } from '../../src/bundle/convert.js'
import { treeOf, type ImageTree } from '../../src/bundle/image-tree.js'
import { generatedLayer, planMountPoints } from '../../src/bundle/mount-points.js'
import { PROFILE_NAMES, type BundleOptions } from '../../src/bundle/options.js'
import type { RuntimeConfig } from '../../src/bundle/runtime-config.js'
import { Cache } from '../../src/cache/cache.js'
import { buildRootfs } from '../../src/rootfs/build-rootfs.js'
import type { Image } from '../../src/source/image.js'
import { openImage } from '../../src/source/open-image.js'
import { HOST } from '../helpers/bundle-input.js'
import { corpora } from '../helpers/run-cli.js'
import { schemaProblems, schemaSkipReason } from '../helpers/runtime-schema.js'

const root = corpora()
const skip = root === undefined && 'the corpora are not on this machine'
const options: readonly BundleOptions[] = [
  ...PROFILE_NAMES.map((profile) => ({ profile })),
  ...PROFILE_NAMES.map((profile) => ({ profile, rootless: 'new' as const, user: '0' })),
  {
    ...{ memory: 1 << 30, cpus: 2, pidsLimit: -1, readOnly: true, tty: true, network: 'host' },
    uidMap: [{ containerID: 0, hostID: 1, size: 2 ** 31 }],
    poststop: ['/x', 'y'],
    mounts: [{ destination: '/m', type: 'bind', source: '/', options: ['ro'], isFile: false }],
  },
]

/** Of all images, for one run of the validator. */
const all: RuntimeConfig[] = []

async function withImage(
  t: Test,
  name: string,
  use: (image: Image, tree: ImageTree) => Promise<void>,
): Promise<void> {
  const cache = await Cache.open({ dir: join(t.testdir({}), 'cache') })
  const image = await openImage(join(root ?? '', 'images', name), {
    cache,
    platform: { os: 'linux', architecture: 'amd64' },
  })
  try {
    const rootfs = await buildRootfs(image, { cache })
    try {
      await use(image, treeOf(rootfs))
    } finally {
      await rootfs.close()
    }
  } finally {
    await image.close()
  }
}

for (const name of root === undefined ? [] : readdirSync(join(root, 'images'))) {
  t.test(name, { skip }, async (t) => {
    await withImage(t, name, async (image, tree) => {
      const configs: RuntimeConfig[] = []
      for (const set of options) {
        const input = { image, tree, options: set, host: HOST }
        const { config, mountPoints, warnings } = await convertConfig(input)
        t.strictSame(
          warnings.filter((text) => !text.includes('supplementary')),
          [],
        )
        generatedLayer(planMountPoints(tree, mountPoints))
        configs.push(config)
      }
      all.push(...configs)
      const expected = join(
        ...[root ?? '', 'expected', name.replace(/-zstd$/, ''), 'runtime-config.umoci.json'],
      )
      if (!existsSync(expected)) return
      const theirs = JSON.parse(readFileSync(expected, 'utf8')) as RuntimeConfig
      const ours = configs[0]
      const asUmoci = configs[PROFILE_NAMES.indexOf('umoci')]
      t.strictSame(ours?.process.args, theirs.process.args)
      t.equal(ours?.process.cwd, theirs.process.cwd)
      t.equal(ours?.process.user.uid, theirs.process.user.uid)
      t.equal(ours?.process.user.gid, theirs.process.user.gid)
      t.strictSame(secondary(ours), secondary(theirs), 'C-048')
      t.strictSame(ours?.process.env.filter(isOfImage), theirs.process.env.filter(isOfImage))
      t.strictSame(asUmoci?.process.env.toSorted(), theirs.process.env.toSorted())
      const annotations = Object.entries(theirs.annotations ?? {})
      t.strictSame(
        ours?.annotations,
        Object.fromEntries(annotations.filter(([, value]) => value !== '')),
        'C-013',
      )
    })
  })
}

t.test('every config validates (C-072)', { skip: skip || schemaSkipReason() }, async (t) => {
  t.ok(all.length > 5 * options.length, `${all.length} configs`)
  t.strictSame(
    schemaProblems(all).filter((problem) => problem !== ''),
    [],
  )
})

function secondary(config: RuntimeConfig | undefined): readonly number[] | undefined {
  const user = config?.process.user
  return (user?.additionalGids ?? []).filter((gid) => gid !== user?.gid)
}

function isOfImage(entry: string): boolean {
  return !/^(?:TERM|HOME)=/.test(entry)
}
