// Real images, mounted by the command, against the trees that umoci wrote from them.

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cliFixture } from '../helpers/cli-fixture.js'
import { testedDrivers } from '../helpers/drivers.js'
import { corpora, whyNoMounts } from '../helpers/run-cli.js'
import { diffTrees, readTree, snapshotTree } from '../helpers/trees.js'

const root = corpora()
const skip = whyNoMounts() || (root === undefined && 'the corpora are not on this machine')

if (skip || root === undefined) {
  t.test('real images equal what umoci unpacks', { skip: skip || true }, (t) => {
    t.end()
  })
} else {
  const drivers = await testedDrivers()
  const images = readdirSync(join(root, 'images')).filter(
    (name) => !name.startsWith('docker-archive'),
  )
  for (const name of images) {
    // The zstd twin has no expectation of its own: its tree is that of the gzip image.
    const expected = join(root, 'expected', name.replace(/-zstd$/, ''), 'tree.jsonl')
    t.test(`${name} equals what umoci unpacks`, async (t) => {
      t.ok(existsSync(expected), 'there is an expectation')
      const fixture = cliFixture(t)
      for (const driver of drivers) {
        t.test(`with ${driver.name}`, { skip: driver.skip }, async (t) => {
          const mountpoint = fixture.mountpoint(driver.name)
          const args = ['--driver', driver.name, join(root, 'images', name), mountpoint]
          const mounted = await fixture.ocimount(args)
          t.equal(mounted.status, 0, mounted.stderr)
          const line = new RegExp(`^ocimount: .* ${driver.name}, \\d`, 'm')
          t.match(mounted.stderr, line, 'one line says what was mounted')
          const tree = await snapshotTree(mountpoint)
          t.strictSame(diffTrees(tree, readTree(expected)), [])
          t.ok(tree.length > 1)
          const unmounted = await fixture.ocimount(['umount', mountpoint])
          t.equal(unmounted.status, 0, unmounted.stderr)
          t.strictSame(fixture.mounts(), [])
        })
      }
    })
  }

  for (const archive of ['docker-archive-14-layers.tar', 'docker-archive-alpine-3.10.tar.gz']) {
    t.test(`${archive} mounts, again from the cache with the same tree`, async (t) => {
      const fixture = cliFixture(t)
      const mountpoint = fixture.mountpoint()
      const trees = []
      for (let turn = 0; turn < 2; turn++) {
        const mounted = await fixture.ocimount([join(root, 'images', archive), mountpoint])
        t.equal(mounted.status, 0, mounted.stderr)
        trees.push(await snapshotTree(mountpoint))
        t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
      }
      t.strictSame(diffTrees(trees[1] ?? [], trees[0] ?? []), [])
      t.ok((trees[0] ?? []).length > 80)
    })
  }
}
