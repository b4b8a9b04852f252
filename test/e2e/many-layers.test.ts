// An image of as many layers as Docker allows, under every driver.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { buildImage } from '../helpers/build-image.js'
import { dir, layer, opaque, file, whiteout, type LayerPart } from '../helpers/build-layer.js'
import { cliFixture } from '../helpers/cli-fixture.js'
import { eachDriver } from '../helpers/mount-drivers.js'
import { slownessLine } from '../helpers/native-addon.js'
import { writeImage } from '../helpers/write-image.js'

const COUNT = 127
/** The layer that hides what `d` has below it. */
const OPAQUE_AT = 100

const TARS = Array.from({ length: COUNT }, (_, n) => layer(...partsOf(n)).tar)

/** Of layer n: files of its own, one that every layer has, and a whiteout of a file three layers below for every third. */
function partsOf(n: number): LayerPart[] {
  return [
    dir('d'),
    ...(n === OPAQUE_AT ? [opaque('d')] : []),
    file(`d/${n}`, `in d ${n}`),
    file(`f${n}`, `layer ${n} `.repeat(n)),
    file('all', `from ${n}`),
    ...(n >= 3 && n % 3 === 0 ? [whiteout(`f${n - 3}`)] : []),
  ]
}

/** What is to be seen, by path. */
const TREE = Object.fromEntries([
  ['all', `from ${COUNT - 1}`],
  ...numbers((n) => n >= OPAQUE_AT).map((n) => [`d/${n}`, `in d ${n}`]),
  ...numbers((n) => n % 3 !== 0 || n + 3 >= COUNT).map((n) => [`f${n}`, `layer ${n} `.repeat(n)]),
]) as Readonly<Record<string, string>>

function numbers(isShown: (n: number) => boolean): number[] {
  return Array.from({ length: COUNT }, (_, n) => n).filter(isShown)
}

function treeAt(root: string): Record<string, string> {
  const paths = readdirSync(root, { recursive: true }) as string[]
  return Object.fromEntries(
    paths
      .filter((path) => statSync(join(root, path)).isFile())
      .map((path) => [path, readFileSync(join(root, path), 'utf8')]),
  )
}

for (const compression of ['none', 'gzip'] as const) {
  const layers = TARS.map((tar) => ({ tar, compression }))
  const built = buildImage({ tags: ['many'], layers })

  eachDriver(t, `${COUNT} layers mount, packed: ${compression}`, async (t, driver) => {
    const fixture = cliFixture(t)
    const image = writeImage(join(fixture.dir, 'layout'), [built], { form: 'oci' })
    const mountpoint = fixture.mountpoint()
    const mounted = await fixture.ocimount(['--driver', driver, image, mountpoint])
    t.equal(mounted.status, 0)
    const slow = slownessLine('mounted')
    t.ok(mounted.stderr.startsWith(slow), mounted.stderr)
    const line = /^ocimount: many \(.*\): 127 layers, \d+ files, .*\n$/
    t.match(mounted.stderr.slice(slow.length), line, 'one line')
    t.strictSame(treeAt(mountpoint), TREE)
    t.match(await fixture.ocimount(['umount', mountpoint]), { status: 0, stderr: '' })
  })

  // In this process's own output, where a mount's server has none.
  void t.test(`${COUNT} layers are listed without a warning, packed: ${compression}`, async (t) => {
    const fixture = cliFixture(t)
    const image = writeImage(join(fixture.dir, 'layout'), [built], { form: 'oci' })
    const listed = await fixture.ocimount(['ls', image, '/d'])
    t.equal(listed.status, 0)
    t.equal(listed.stderr, compression === 'gzip' ? slownessLine('unpacked') : '')
    t.equal(listed.stdout.trim().split('\n').length, COUNT - OPAQUE_AT)
  })
}
