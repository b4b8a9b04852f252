// Small files that unfold to gigabytes: refused in one line, in little memory, with the disk left to others.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { descriptorOf, json, OCI } from '../helpers/build-image.js'
import * as tar from '../helpers/build-tar.js'
import { leavesNothing, refuses } from '../helpers/cli-checks.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { COMMAND, whyNoMounts } from '../helpers/run-cli.js'
import { file, writeMembers } from '../helpers/tar-members.js'

const MIB = 1024 ** 2
const PIECE = 64 * MIB
const PIECES = 160
const DISK = 256 * MIB

/** The same gzip member over and over: a stream as any other, and made in no time. */
function repeated(bytes: Buffer, times: number): Buffer {
  return Buffer.concat(Array.from({ length: times }, () => bytes))
}

/** 10 GiB in 10 MB. Not zeros, which the cache keeps as holes. */
const UNFOLDING = repeated(gzipSync(Buffer.alloc(PIECE, 'x'), { level: 9 }), PIECES)
const INSIDE = Buffer.concat([
  gzipSync(tar.header({ name: 'disk', type: '0', size: PIECES * PIECE })),
  UNFOLDING,
  gzipSync(Buffer.alloc(1024)),
])
const BEHIND = Buffer.concat([gzipSync(tar.buildTar([tar.file('a', 'x')])), UNFOLDING])

/** Writes a layout with one gzip layer; the DiffID is a lie, which would be found out only at the end. */
function writeLayout(path: string, layer: Buffer): string {
  const diffId = `sha256:${'0'.repeat(64)}`
  const config = json({
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [diffId] },
  })
  const manifest = json({
    schemaVersion: 2,
    mediaType: OCI.manifest,
    config: descriptorOf(OCI.config, config),
    layers: [descriptorOf(OCI.layer.gzip, layer)],
  })
  const blobs = [config, manifest, layer].map((bytes) => {
    const { digest } = descriptorOf('', bytes)
    return { path: `blobs/${String(digest).replace(':', '/')}`, bytes }
  })
  mkdirSync(join(path, 'blobs/sha256'), { recursive: true })
  for (const blob of blobs) writeFileSync(join(path, blob.path), blob.bytes)
  return writeMembers(path, [
    file('oci-layout', '{"imageLayoutVersion":"1.0.0"}'),
    file(
      'index.json',
      json({ schemaVersion: 2, manifests: [descriptorOf(OCI.manifest, manifest)] }),
    ),
  ])
}

t.test('ten million empty entries are refused', { skip: whyNoMounts() }, async (t) => {
  const fixture = cliFixture(t)
  const entries = gzipSync(repeated(tar.file('n'.repeat(99)), 10_000), { level: 9 })
  const image = writeLayout(join(fixture.dir, 'image'), repeated(entries, 1000))
  const startMs = Date.now()
  // In the foreground, so that what serves is what is measured.
  const { status, stderr, peakBytes } = measure(fixture, ['-f', image, fixture.mountpoint()])
  t.equal(status, 3, stderr)
  t.match(stderr, /^ocimount: Cannot [^\n]+: the archive has more than 2000000 entries\n$/)
  t.ok(peakBytes < 1536 * MIB, `${Math.round(peakBytes / MIB)} MiB of memory`)
  t.ok(Date.now() - startMs < 60_000)
  await leavesNothing(t, fixture)
})

// With the addon a gzip layer is not unpacked at all.
const PORTABLE = { env: { OCIMOUNT_NATIVE: '0' } }

t.test('a gzip bomb leaves a part of the disk free', { skip: whyNoDisk() }, async (t) => {
  const fixture = cliFixture(t, smallDisk(t))
  const outer = join(fixture.dir, 'app.tar.gz')
  writeFileSync(outer, INSIDE)
  const inside = writeLayout(join(fixture.dir, 'inside'), INSIDE)
  const behind = writeLayout(join(fixture.dir, 'behind'), BEHIND)
  const cases: readonly (readonly [name: string, args: readonly string[]])[] = [
    ['in an entry', [inside, fixture.mountpoint()]],
    ['behind the end marker', ['ls', behind]],
    ['around the archive', ['ls', outer]],
  ]
  for (const [name, args] of cases) {
    const startMs = Date.now()
    const wasFree = freeBytes(fixture)
    const why = /less than 13 MiB are free in the cache's filesystem/
    await refuses(t, fixture, args, { status: 8, why }, PORTABLE)
    t.ok(Date.now() - startMs < 60_000, name)
    await leavesNothing(t, fixture)
    t.ok(freeBytes(fixture) > wasFree - MIB, 'what was written is gone')
  }
  const measured = measure(fixture, ['ls', '-'], INSIDE)
  t.equal(measured.status, 8, measured.stderr)
  t.ok(measured.peakBytes < 512 * MIB, `${Math.round(measured.peakBytes / MIB)} MiB of memory`)
  await leavesNothing(t, fixture)
})

/** Runs the command and gives the most memory that it had at a time. */
function measure(
  { env }: CliFixture,
  args: readonly string[],
  input?: Buffer,
): { readonly status: number; readonly stderr: string; readonly peakBytes: number } {
  const script = `
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)`
  const { stdout, stderr } = spawnSync('python3', ['-c', script, ...COMMAND, ...args], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    input,
  })
  const [status, kibibytes] = stdout.split(' ').map(Number)
  return { status: status ?? -1, stderr, peakBytes: (kibibytes ?? Infinity) * 1024 }
}

/** Makes a disk that is full after 256 MiB, and gives where it is. */
function smallDisk(t: Test): string {
  const path = mkdtempSync(join('/var/tmp', 'ocimount-test-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK},mode=0700`, 'ocimount-test', path])
  t.teardown(() => {
    execFileSync('umount', ['-l', path])
    rmdirSync(path)
  })
  return path
}

function freeBytes({ dir }: CliFixture): number {
  const { bavail, bsize } = statfsSync(dir)
  return bavail * bsize
}

function whyNoDisk(): string | false {
  if (process.getuid?.() !== 0) return 'needs root to mount a tmpfs'
  const tried = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'])
  return tried.status === 0 ? whyNoMounts() : 'cannot mount a tmpfs here'
}
