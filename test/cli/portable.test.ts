// What is said where the addon is missing: once, by what is slow for it.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { buildImage } from '../helpers/build-image.js'
import { becomes, leavesNothing } from '../helpers/cli-checks.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { addonSkipReason } from '../helpers/native-addon.js'
import { spawnCli } from '../helpers/run-cli.js'
import { simpleLayer } from '../helpers/tar-members.js'
import { rootSkipReason } from '../helpers/with-mount.js'
import { writeImage } from '../helpers/write-image.js'

const skip = rootSkipReason()
const WHY = 'the addon is missing (switched off by OCIMOUNT_NATIVE)'
const SLOW_MOUNT = `${WHY}: mounted the portable way, which is slow`
const SLOW_UNPACKING = `${WHY}: gzip layers are unpacked whole, which is slow`

/** A fixture whose commands have no addon. */
function portableFixture(t: Test): CliFixture {
  const fixture = cliFixture(t)
  return {
    ...fixture,
    ocimount: (args, options = {}) =>
      fixture.ocimount(args, { ...options, env: { OCIMOUNT_NATIVE: '0', ...options.env } }),
  }
}

function writeTwoLayers(directory: string, compression: 'none' | 'gzip'): string {
  const layers = ['one', 'two'].map((name) => ({
    tar: simpleLayer({ [name]: `${name}\n` }),
    compression,
  }))
  const image = buildImage({ tags: [compression], layers })
  return writeImage(join(directory, compression), [image], { form: 'oci' })
}

t.test('a mount says it before its summary, a second one too', { skip }, async (t) => {
  const fixture = portableFixture(t)
  const [plain, packed] = (['none', 'gzip'] as const).map((kind) =>
    writeTwoLayers(fixture.dir, kind),
  )
  for (const [index, image] of [plain, packed, packed].entries()) {
    const mounted = await fixture.ocimount([image ?? '', fixture.mountpoint(`at${index}`)])
    const [warning, summary, ...rest] = mounted.stderr.split('\n')
    t.equal(mounted.status, 0)
    t.equal(warning, `ocimount: warning: ${SLOW_MOUNT}`)
    t.match(summary, /^ocimount: .*: 2 layers, \d+ files, fuse-native, \d+\.\d+ s$/)
    t.strictSame(rest, [''])
  }
  t.equal(readFileSync(join(fixture.dir, 'at2/two'), 'utf8'), 'two\n')
  for (const path of fixture.mounts()) await fixture.ocimount(['umount', path])
  await leavesNothing(t, fixture)
})

t.test('a mount in the foreground says it once too', { skip }, async (t) => {
  const fixture = portableFixture(t)
  const mountpoint = fixture.mountpoint()
  const env = { ...fixture.env, OCIMOUNT_NATIVE: '0' }
  const server = spawnCli(['-f', writeTwoLayers(fixture.dir, 'gzip'), mountpoint], { env })
  const said = text(server.stderr ?? Readable.from([]))
  t.ok(await becomes(() => existsSync(join(mountpoint, 'one'))))
  t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
  const lines = (await said).split('\n')
  t.equal(lines[0], `ocimount: warning: ${SLOW_MOUNT}`)
  t.equal(lines.length, 3, lines.join('\n'))
})

t.test('--quiet does not say it, --json says it in the document', { skip }, async (t) => {
  const fixture = portableFixture(t)
  const image = writeTwoLayers(fixture.dir, 'gzip')
  const quiet = await fixture.ocimount(['-q', image, fixture.mountpoint('quiet')])
  t.strictSame(quiet, { status: 0, stdout: '', stderr: '' })
  const { stdout, stderr } = await fixture.ocimount(['--json', image, fixture.mountpoint('json')])
  t.equal(stderr, '')
  const { warnings, driver } = JSON.parse(stdout) as { warnings: string[]; driver: string }
  t.strictSame([driver, warnings], ['fuse-native', [SLOW_MOUNT]])
})

t.test('what looks into an image says it when it unpacks gzip', async (t) => {
  const fixture = portableFixture(t)
  const image = writeTwoLayers(fixture.dir, 'gzip')
  const said = async (...args: string[]): Promise<string> => {
    const { status, stderr } = await fixture.ocimount(args)
    t.equal(status, 0, stderr)
    return stderr
  }
  t.equal(await said('cat', '-q', image, 'one'), '')
  await fixture.ocimount(['cache', 'prune', '-q', '--max-size', '0'])
  t.equal(await said('cat', image, 'one'), `ocimount: warning: ${SLOW_UNPACKING}\n`)
  t.equal(await said('ls', image), '', 'it is unpacked')
  t.equal(await said('ls', writeTwoLayers(fixture.dir, 'none')), '', 'there is nothing to unpack')
})

t.test('the addon says nothing', { skip: skip || addonSkipReason() }, async (t) => {
  const fixture = cliFixture(t)
  const args = ['--driver=fuse-native', writeTwoLayers(fixture.dir, 'gzip'), fixture.mountpoint()]
  const mounted = await fixture.ocimount(args)
  t.match(mounted, { status: 0, stderr: /^ocimount: gzip [^\n]*fuse-native[^\n]*\n$/ })
})
