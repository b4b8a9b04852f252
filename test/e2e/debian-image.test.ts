// A real Debian image of some 17,000 entries in three layers, in every form, against `umoci unpack`; then the
// tools that people use, eight at a time; then the kernel's own EROFS over the same metadata.

import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import {
  DEBIAN_IMAGES as IMAGES,
  isKnownToUmoci,
  umociTree,
  whyNoDebianImage,
} from '../helpers/debian-image.js'
import { testedDrivers } from '../helpers/drivers.js'
import { kernelSkipReason, MountFixture } from '../helpers/erofs-kernel.js'
import { diffTrees, snapshotTree, type TreeDifference, type TreeRow } from '../helpers/trees.js'

const run = promisify(execFile)

const FORMS: Readonly<Record<string, string>> = {
  'uncompressed docker-archive': join(IMAGES, 'app.docker.tar'),
  'gzip OCI archive': join(IMAGES, 'app.oci.tar'),
  'gzip OCI layout': `oci:${join(IMAGES, 'layout')}:app`,
  'zstd OCI layout': join(IMAGES, 'zstd'),
}

// A plain and a packed form with each driver; the others differ in how they are read, not in how they are served.
const EVERY_DRIVER = new Set(['uncompressed docker-archive', 'gzip OCI archive'])

/** What takes more than half of the time of this file, and finds what shorter tests of the same driver find. */
const notLong =
  process.env['OCIMOUNT_LONG_TESTS'] === undefined && 'it takes long, OCIMOUNT_LONG_TESTS=1 runs it'
const isLong = (driver: string, form?: string): boolean =>
  driver === 'fuse-native' && form !== 'uncompressed docker-archive'

// What people run. The size that a filesystem gives its directories is its own business, so it is not asked for.
const JOBS: readonly (readonly [name: string, command: string])[] = [
  ['find', "find . -type d -printf '%p %m %U %G\n' -o -printf '%p %y %s %m %U %G %n %l\n' | sort"],
  ['tar', 'tar --sort=name --xattrs -cf - . | tar -tvf - | cut -c1-30 | sort | md5sum'],
  ['du', 'find . -type f -print0 | sort -z | du --files0-from=- --apparent-size -B1 | md5sum'],
  ['md5sum', 'find . -type f -print0 | sort -z | xargs -0 md5sum | md5sum'],
  ['grep', 'grep -rlI "import numpy" usr/lib/python3 | sort | md5sum'],
]

/** Gives what the jobs print, all run at once. */
async function outputsAt(cwd: string): Promise<string[]> {
  const options = { cwd, maxBuffer: 1 << 28 }
  return Promise.all(
    JOBS.map(async ([, command]) => (await run('sh', ['-c', command], options)).stdout),
  )
}

const skip = whyNoDebianImage()

t.test('a Debian image', { skip, timeout: 540_000 }, async (t) => {
  const fixture = cliFixture(t)
  const expected = await umociTree(join(IMAGES, 'layout'), join(fixture.dir, 'bundle'))
  t.ok(expected.length > 12_000, `${expected.length} paths`)
  const wanted = await outputsAt(join(fixture.dir, 'bundle/rootfs'))
  /** What was seen at each mount point. */
  const trees = new Map<string, readonly TreeRow[]>()

  const drivers = await testedDrivers()
  for (const [form, image] of Object.entries(FORMS)) {
    for (const { name: driver, skip } of drivers) {
      if (driver !== 'kernel' && !EVERY_DRIVER.has(form)) continue
      const why = skip || (isLong(driver, form) && notLong)
      t.test(`${form} equals umoci unpack, with ${driver}`, { skip: why }, async (t) => {
        const mountpoint = fixture.mountpoint(`${form.replaceAll(' ', '-')}-${driver}`)
        const ref = image.includes(':app') || image.includes('docker') ? [] : ['--ref', 'app']
        const mounted = await fixture.ocimount(['--driver', driver, ...ref, image, mountpoint])
        t.equal(mounted.status, 0, mounted.stderr)
        const known = driver === 'fuse-native' ? isKnown : isKnownToUmoci
        const tree = await snapshotTree(mountpoint)
        trees.set(mountpoint, tree)
        t.strictSame(diffTrees(tree, expected, known), [])
      })
    }
  }

  for (const { name: driver, skip } of drivers) {
    t.test(
      `what people run on it gives equal results, eight at a time, with ${driver}`,
      { skip: skip || (isLong(driver) && notLong) },
      async (t) => {
        const mountpoint = join(fixture.dir, `uncompressed-docker-archive-${driver}`)
        const copies = fixture.mountpoint(`copies-${driver}`)
        const [got, numpy] = await Promise.all([
          outputsAt(mountpoint),
          run('chroot', [
            mountpoint,
            '/usr/bin/python3',
            '-c',
            'import numpy; print(numpy.arange(5).sum())',
          ]).then(({ stdout }) => stdout),
          run('cp', ['-a', mountpoint, join(copies, 'cp')]),
          run('rsync', ['-aHAX', `${mountpoint}/`, join(copies, 'rsync')]),
        ])
        for (const [index, [name]] of JOBS.entries()) {
          t.equal(got[index], wanted[index], name)
          t.not(got[index], '')
        }
        t.equal(numpy, '10\n', 'numpy runs in a chroot')
        const tree = trees.get(mountpoint) ?? []
        for (const copy of ['cp', 'rsync']) {
          t.strictSame(diffTrees(await snapshotTree(join(copies, copy)), tree), [], copy)
        }
        // At once, so that most of it is never written to the disk.
        await run('rm', ['-rf', copies])
      },
    )
  }

  t.test(
    'the kernel mounts the same metadata, with the same tree',
    { skip: kernelSkipReason() },
    async (t) => {
      const kernel = new MountFixture(t)
      const cache = join(fixture.dir, 'cache')
      // With the addon the tests above have read every byte into the cache; without it looking unpacks the layers.
      await fixture.ocimount(['ls', '-q', FORMS['gzip OCI layout'] ?? ''])
      const [tree] = readdirSync(join(cache, 'rootfs'), {
        recursive: true,
        encoding: 'utf8',
      }).filter((name) => name.endsWith('.erofs'))
      const { stdout } = await fixture.ocimount([
        'inspect',
        '--raw',
        'config',
        FORMS['gzip OCI layout'] ?? '',
      ])
      const config = JSON.parse(stdout) as { rootfs: { diff_ids: string[] } }
      const devices = config.rootfs.diff_ids.map((diffId) =>
        padded(readFileSync(join(cache, 'layers', layerDirectory(fixture, diffId), 'data'))),
      )
      const mountpoint = kernel.mount(
        padded(readFileSync(join(cache, 'rootfs', tree ?? ''))),
        devices,
        'file',
      )
      t.strictSame(diffTrees(await snapshotTree(mountpoint), expected, isKnownToUmoci), [])
    },
  )
})

/** The kernel reads whole blocks of what stands for a device. */
function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4096 - (bytes.length % 4096)) % 4096)])
}

function layerDirectory(fixture: CliFixture, diffId: string): string {
  const hex = diffId.split(':')[1] ?? ''
  return (
    readdirSync(join(fixture.dir, 'cache/layers'), { recursive: true, encoding: 'utf8' }).find(
      (name) => name.endsWith(hex),
    ) ?? diffId
  )
}

function isKnown(difference: TreeDifference, row: TreeRow): boolean {
  return isKnownToUmoci(difference, row) || isMilliseconds(difference)
}

// The fuse-native driver shows milliseconds (README, Limits).
function isMilliseconds({ field, got, want }: TreeDifference): boolean {
  return field === 'mtime' && Math.trunc(Number(want) / 1e6) === Math.trunc(Number(got) / 1e6)
}
