// --direct: the kernel reads the archive itself, no process is left, and every command goes on working without one.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { buildImage, json, sha256 } from '../helpers/build-image.js'
import { becomes, leavesNothing, processesOf, refuses } from '../helpers/cli-checks.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { kernelSkipReason } from '../helpers/erofs-kernel.js'
import { addonSkipReason } from '../helpers/native-addon.js'
import { corpora } from '../helpers/run-cli.js'
import { file, packMembers, simpleLayer, tarHeader } from '../helpers/tar-members.js'
import { diffTrees, snapshotTree } from '../helpers/trees.js'
import { writeImage } from '../helpers/write-image.js'
import { writeSample } from './sample-image.js'

const skip = kernelSkipReason() || addonSkipReason()

interface Summary {
  readonly direct: boolean
  readonly pid: number | null
  readonly verification: string
}

async function mountDirect(
  t: Test,
  fixture: CliFixture,
  args: readonly string[],
): Promise<Summary> {
  const { status, stdout, stderr } = await fixture.ocimount(['--json', '--direct', ...args])
  t.equal(status, 0, stderr)
  return JSON.parse(stdout) as Summary
}

/** Waits until no process of the fixture runs. */
async function isAlone(fixture: CliFixture): Promise<boolean> {
  return becomes(() => processesOf(fixture).length === 0)
}

async function listed(fixture: CliFixture): Promise<readonly unknown[]> {
  return JSON.parse((await fixture.ocimount(['list', '--json'])).stdout) as unknown[]
}

const root = corpora()
for (const archive of ['the sample', 'docker-archive-14-layers.tar']) {
  const isHere = archive === 'the sample' || root !== undefined
  const reason = skip || (!isHere && 'the corpora are not on this machine')
  t.test(`${archive} has the tree that another driver shows`, { skip: reason }, async (t) => {
    const fixture = cliFixture(t)
    const image =
      archive === 'the sample' ? writeSample(fixture.dir) : join(root ?? '', 'images', archive)
    const direct = fixture.mountpoint('direct')
    const served = fixture.mountpoint('served')
    const reference = await fixture.ocimount(['--driver=fuse', image, served])
    t.equal(reference.status, 0, reference.stderr)
    const want = await snapshotTree(served)
    t.equal((await fixture.ocimount(['umount', served])).status, 0)
    await mountDirect(t, fixture, ['--verify=before', image, direct])
    t.ok(await isAlone(fixture))
    t.strictSame(diffTrees(await snapshotTree(direct), want), [])
    t.equal((await fixture.ocimount(['umount', direct])).status, 0)
    await leavesNothing(t, fixture)
  })
}

t.test('a verified mount needs no process: list, status, umount', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const mountpoint = fixture.mountpoint()
  const said = await fixture.ocimount(['--direct', image, mountpoint])
  t.match(said, { status: 0, stdout: '', stderr: /: 2 layers, \d+ files, kernel \(direct\), \d/ })
  t.ok(await isAlone(fixture), 'the hash is done, the process gone')
  t.equal(readFileSync(join(mountpoint, 'etc/motd'), 'utf8'), 'hello\n')
  const record = { mountpoint, direct: true, driver: 'kernel', state: 'ready', pid: null }
  t.match(await listed(fixture), [{ ...record, verification: 'verified' }])
  t.match((await fixture.ocimount(['list'])).stdout, / kernel \(direct\) +ready +verified +-$/m)
  const status = await fixture.ocimount(['status', mountpoint])
  t.match(status, { status: 0, stdout: /^State: +ready$[^]*^Process: +none$/m })
  t.match(JSON.parse((await fixture.ocimount(['status', '--json', mountpoint])).stdout), record)
  await refuses(t, fixture, [image, mountpoint], { status: 6, why: /already mounted there/ })
  const inside = spawn('sleep', ['60'], { cwd: mountpoint, stdio: 'ignore' })
  await refuses(t, fixture, ['umount', mountpoint], { status: 6, why: /it is in use/ })
  t.match(await listed(fixture), [record], 'still there')
  inside.kill()
  await once(inside, 'exit')
  t.match(await fixture.ocimount(['umount', mountpoint]), { status: 0, stdout: '', stderr: '' })
  await leavesNothing(t, fixture)

  const again = await mountDirect(t, fixture, [image, mountpoint])
  t.match(again, { direct: true, pid: null, verification: 'verified' }, 'none from the start')
  t.ok(await isAlone(fixture))
  execFileSync('umount', [mountpoint])
  t.strictSame(await listed(fixture), [], 'umount(8) by hand is noticed')
  await leavesNothing(t, fixture)
})

t.test('the options of a mount go together with it', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const mountpoint = fixture.mountpoint()
  const options = ['-o', 'direct,noexec', '--suid', '--writable', '--verify=before']
  const mounted = await fixture.ocimount([...options, image, mountpoint])
  t.match(mounted, { status: 0, stderr: /kernel \(direct\) \+ overlay/ })
  t.ok(await isAlone(fixture))
  writeFileSync(join(mountpoint, 'etc/motd'), 'written\n')
  t.equal(readFileSync(join(mountpoint, 'etc/motd'), 'utf8'), 'written\n')
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((one) => one.includes(` ${mountpoint} `))
  t.match(line, / rw,nodev,noexec[, ]/)
  t.match(await listed(fixture), [{ mountpoint, isWritable: true, pid: null }])
  t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
  await leavesNothing(t, fixture)
})

t.test('in the foreground it stays until it is unmounted', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const mountpoint = fixture.mountpoint()
  const args = ['-f', '--direct', '--verify=before', writeSample(fixture.dir), mountpoint]
  const ended = fixture.ocimount(args)
  t.ok(await becomes(async () => (await listed(fixture)).length === 1))
  t.match(await listed(fixture), [{ direct: true, pid: Number }])
  t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
  t.equal((await ended).status, 0)
  await leavesNothing(t, fixture)
})

t.test('a wrong hash detaches it, and status says so', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const layer = simpleLayer({ 'etc/': '', 'etc/note': 'what was promised\n' })
  const built = buildImage({ tags: ['test'], layers: [layer] })
  const image = writeImage(join(fixture.dir, 'app.tar'), [built], { form: 'docker-24' })
  const bytes = readFileSync(image)
  bytes.write('WHAT', bytes.indexOf('what was promised'))
  writeFileSync(image, bytes)
  const mountpoint = fixture.mountpoint()
  await mountDirect(t, fixture, [image, mountpoint])
  t.ok(await isAlone(fixture))
  t.strictSame(fixture.mounts(), [])
  const error = { code: 'DIGEST_MISMATCH' }
  const record = { mountpoint, state: 'failed', verification: 'failed', error, pid: null }
  t.match(await listed(fixture), [record])
  const status = await fixture.ocimount(['status', mountpoint])
  t.match(status, { status: 5, stdout: /^Error: +Cannot [^\n]* \[DIGEST_MISMATCH\]$/m })
  t.match(await fixture.ocimount(['umount', mountpoint]), { status: 0, stderr: '' })
  t.strictSame(await listed(fixture), [])
  const before = ['--direct', '--verify=before', image, mountpoint]
  await refuses(t, fixture, before, { status: 5, why: /layer sha256:/ })
  await leavesNothing(t, fixture)
})

/** Writes a docker-archive whose layer is mostly a hole of `size` bytes, which takes its time to hash. */
function writeSlowArchive(path: string, size: number): string {
  const note = packMembers([file('note', 'hello\n')], { trailer: 0 })
  const layerSize = note.length + 512 + size + 1024
  const config = json({
    ...{ architecture: 'amd64', os: 'linux', config: {} },
    rootfs: { type: 'layers', diff_ids: [sha256('unknown')] },
  })
  const name = `${sha256(config).slice(7)}.json`
  const manifest = json([{ Config: name, RepoTags: ['slow:latest'], Layers: ['layer.tar'] }])
  const documents = [file('manifest.json', manifest), file(name, config)]
  const head = Buffer.concat([
    packMembers(documents, { trailer: 0 }),
    tarHeader('layer.tar', '0', layerSize, ''),
    note,
    tarHeader('big', '0', size, ''),
  ])
  const fd = openSync(path, 'w')
  writeSync(fd, head)
  ftruncateSync(fd, head.length + size + 2048)
  closeSync(fd)
  return path
}

t.test('kill -9 while it is hashed leaves a mount that reads', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSlowArchive(join(fixture.dir, 'app.tar'), 6 * 2 ** 30)
  const mountpoint = fixture.mountpoint()
  const { pid, verification } = await mountDirect(t, fixture, [image, mountpoint])
  t.equal(verification, 'pending')
  t.match(await listed(fixture), [{ pid, verification: 'pending' }])
  process.kill(pid ?? 0, 'SIGKILL')
  t.ok(await isAlone(fixture))
  t.match(await listed(fixture), [{ pid: null, state: 'ready', verification: 'unknown' }])
  t.equal(readFileSync(join(mountpoint, 'note'), 'utf8'), 'hello\n')
  const status = await fixture.ocimount(['status', mountpoint])
  t.match(status, { status: 0, stdout: /^Verification: unknown$/m })
  t.match(await fixture.ocimount(['umount', '-l', mountpoint]), { status: 0, stderr: '' })
  await fixture.ocimount(['cache', 'prune', '-q', '--max-size', '1T'])
  await leavesNothing(t, fixture)
})

t.test('an archive that changes while it is hashed is detached', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSlowArchive(join(fixture.dir, 'app.tar'), 3 * 2 ** 30)
  const mountpoint = fixture.mountpoint()
  const { verification } = await mountDirect(t, fixture, [image, mountpoint])
  // Outside every layer: only the identity of the file tells.
  appendFileSync(image, 'x')
  t.equal(verification, 'pending')
  t.ok(await isAlone(fixture))
  t.strictSame(fixture.mounts(), [])
  const error = { code: 'SOURCE_CHANGED' }
  const record = { mountpoint, state: 'failed', verification: 'failed', error, pid: null }
  t.match(await listed(fixture), [record])
  t.match(await fixture.ocimount(['umount', mountpoint]), { status: 0, stderr: '' })
  await leavesNothing(t, fixture)
})

t.test('what it cannot do is said', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const mountpoint = fixture.mountpoint()
  const tar = simpleLayer({ note: 'hello\n' })
  const layers = [{ tar, compression: 'gzip' as const }, simpleLayer({ other: '' })]
  const packed = writeImage(join(fixture.dir, 'packed'), [buildImage({ tags: ['test'], layers })], {
    form: 'oci',
  })
  await refuses(t, fixture, ['--direct', packed, mountpoint], {
    status: 3,
    why: new RegExp(`layer ${sha256(tar)} directly: it is packed with gzip; mount it without`),
  })
  const image = writeSample(fixture.dir)
  for (const driver of ['fuse', 'fuse-native']) {
    const refusal = { status: 2, why: /directly with the driver fuse.*only the driver kernel can/ }
    await refuses(t, fixture, ['--direct', '--driver', driver, image, mountpoint], refusal)
    await refuses(t, fixture, ['-o', `direct,driver=${driver}`, image, mountpoint], refusal)
  }
  const ram = join(fixture.dir, 'ram')
  mkdirSync(ram)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0700', 'tmpfs', ram])
  try {
    const args = ['--direct', '--cache-dir', join(ram, 'cache'), image, mountpoint]
    await refuses(t, fixture, args, { status: 6, why: /on tmpfs; put the cache on a disk/ })
  } finally {
    execFileSync('umount', [ram])
  }
  await leavesNothing(t, fixture)
})
