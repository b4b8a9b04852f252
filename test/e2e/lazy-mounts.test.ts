// Gzip images while they are mounted, under every driver: what is made and kept of them, a cache that is too small or full,
// and bytes that turn bad under the mount.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { decodeSpanTable } from '../../src/layer/span-table.js'
import { unseal } from '../../src/cache/sealed-file.js'
import { buildImage } from '../helpers/build-image.js'
import { buildTar, file } from '../helpers/build-tar.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { DRIVER_CASES, eachDriver, type DriverCase } from '../helpers/mount-drivers.js'
import { addonSkipReason, layerLikeBytes, PIECE_SIZE } from '../helpers/native-addon.js'
import { COMMAND } from '../helpers/run-cli.js'
import { run } from '../helpers/with-mount.js'
import { writeImage } from '../helpers/write-image.js'

const FILES = 30
const SMALL = 4096
const CONTENTS = Array.from({ length: FILES }, (_, n) => layerLikeBytes(PIECE_SIZE, n + 1))
const TAR = buildTar([
  ...CONTENTS.slice(0, 15).map((bytes, n) => file(`f${n}`, bytes)),
  file('small', CONTENTS[0]!.subarray(0, SMALL)),
  ...CONTENTS.slice(15).map((bytes, n) => file(`f${n + 15}`, bytes)),
])
const IMAGE = buildImage({ tags: ['lazy'], layers: [{ tar: TAR, compression: 'gzip' }] })
const BLOB = IMAGE.layers[0]!

const noAddon = addonSkipReason()
const unfit = noAddon === false ? {} : { kernel: noAddon, fuse: noAddon, 'fuse-native': noAddon }
const noFuse = DRIVER_CASES.find(({ name }) => name === 'fuse')?.skip ?? false

interface Mounted {
  readonly fixture: CliFixture
  readonly image: string
  readonly mountpoint: string
  readonly stderr: string
}

async function mount(
  t: Test,
  driver: DriverCase['name'],
  {
    args = [],
    env = {},
  }: { args?: readonly string[]; env?: Readonly<Record<string, string>> } = {},
): Promise<Mounted> {
  const fixture = cliFixture(t)
  const image = writeImage(join(fixture.dir, 'layout'), [IMAGE], { form: 'oci' })
  const mountpoint = fixture.mountpoint()
  const mounted = await fixture.ocimount(['--driver', driver, ...args, image, mountpoint], { env })
  t.equal(mounted.status, 0, mounted.stderr)
  return { fixture, image, mountpoint, stderr: mounted.stderr }
}

/** Reads files past the page cache, in one process of its own; gives the bytes of each or the name of its error. */
async function readAll(paths: readonly string[]): Promise<(Buffer | string)[]> {
  const script = `
import base64, errno, os, sys
for path in sys.argv[1:]:
    try:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        parts = []
        while part := os.read(file, 1 << 17):
            parts.append(part)
        os.close(file)
        print(base64.b64encode(b''.join(parts)).decode())
    except OSError as error:
        print('!' + errno.errorcode[error.errno])
`
  const { status, stdout, stderr } = await run(['python3', '-c', script, ...paths])
  if (status !== 0) throw new Error(stderr)
  const lines = stdout.trimEnd().split('\n')
  return lines.map((line) => (line.startsWith('!') ? line.slice(1) : Buffer.from(line, 'base64')))
}

interface Device {
  readonly size: number
  readonly presentBytes: number
  readonly faults: readonly { readonly spans?: string }[]
}

async function deviceOf({ fixture, mountpoint }: Mounted): Promise<Device> {
  const { stdout } = await fixture.ocimount(['status', '--json', mountpoint])
  return (JSON.parse(stdout) as { devices: Device[] }).devices[0]!
}

function layerFile({ fixture }: Mounted, name: string): string {
  const layers = join(fixture.dir, 'cache/layers')
  return join(layers, readdirSync(layers)[0] ?? '', name)
}

function spaceOf(path: string): number {
  return statSync(path).blocks * 512
}

function blobPath({ image }: Mounted): string {
  return join(image, 'blobs/sha256', BLOB.digest.slice(7))
}

/** Checks files `f<n>`, each either right or an error. */
async function readsRightOr(
  t: Test,
  { mountpoint }: Mounted,
  numbers: readonly number[],
): Promise<string[]> {
  const errors: string[] = []
  const results = await readAll(numbers.map((n) => join(mountpoint, `f${n}`)))
  for (const [index, got] of results.entries()) {
    const n = numbers[index] ?? -1
    if (typeof got === 'string') errors.push(got)
    else t.ok(got.equals(CONTENTS[n]!), `f${n}`)
  }
  return errors
}

eachDriver(
  t,
  'one small file makes two pieces at most, and the disk has what status tells',
  async (t, driver) => {
    const mounted = await mount(t, driver)
    t.equal((await deviceOf(mounted)).presentBytes, 0)
    const [small] = await readAll([join(mounted.mountpoint, 'small')])
    t.ok(CONTENTS[0]!.subarray(0, SMALL).equals(small as Buffer))
    const device = await deviceOf(mounted)
    t.equal(device.size, TAR.length)
    t.ok(device.presentBytes > 0 && device.presentBytes <= 2 * PIECE_SIZE, `${device.presentBytes}`)
    t.equal(spaceOf(layerFile(mounted, 'data')), device.presentBytes)
    const { stdout } = await mounted.fixture.ocimount(['status', mounted.mountpoint])
    t.match(stdout, /^Layer 0: +sha256:[0-9a-f]+, local, [12]\.\d MB of 31 MB in the cache$/m)
  },
  unfit,
)

// Every byte is compared, by readers who come again and again at places of their own, until each has read enough.
const READERS = `
import os, random, sys
path, seed, count, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
random.seed(seed)
want = [open(os.path.join(path + '-want', 'f%d' % n), 'rb').read() for n in range(files)]
for _ in range(count):
    n = random.randrange(files)
    file = os.open(os.path.join(path, 'f%d' % n), os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    at = random.randrange(len(want[n]))
    got = os.pread(file, 1 << random.randrange(9, 18), at)
    if got != want[n][at:at + len(got)] or not got:
        sys.exit('f%d at %d is wrong' % (n, at))
    os.close(file)
`

eachDriver(
  t,
  'a cache that is too small stays so, and nobody reads a hole',
  async (t, driver) => {
    const max = 16_000_000
    const mounted = await mount(t, driver, { args: ['--cache-size', '16M'] })
    const want = mounted.fixture.mountpoint('rootfs-want')
    for (const [n, bytes] of CONTENTS.entries()) writeFileSync(join(want, `f${n}`), bytes)
    // Another process with the same cache.
    const other = mounted.fixture.mountpoint('other')
    await mounted.fixture.ocimount(['--driver', driver, '-q', mounted.image, other], {
      env: { OCIMOUNT_CACHE_SIZE: '16M' },
    })
    execFileSync('ln', ['-s', want, `${other}-want`])
    const readers = Array.from({ length: 6 }, (_, seed) => {
      const path = seed < 4 ? mounted.mountpoint : other
      const args = ['-c', READERS, path, String(seed), '150', String(FILES)]
      return once(spawn('python3', args, { stdio: ['ignore', 'ignore', 'inherit'] }), 'exit')
    })
    const progress = { isOver: false }
    const all = Promise.all(readers).finally(() => (progress.isOver = true))
    let most = 0
    while (!progress.isOver) {
      most = Math.max(most, spaceOf(layerFile(mounted, 'data')))
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    t.strictSame(new Set((await all).map(([code]) => code as number)), new Set([0]))
    // Each process may be ahead of the other by what it keeps in any case.
    t.ok(most > 0 && most <= max + 8 * PIECE_SIZE, `${most} bytes at most`)
    t.strictSame((await deviceOf(mounted)).faults, [])
    const du = await mounted.fixture.ocimount(['cache', 'du', '--cache-size', '16M'])
    t.match(du.stdout, /^uncompressed layers [\d.]+ MB of 16 MB$/m)
    await mounted.fixture.ocimount(['umount', mounted.mountpoint])
    await mounted.fixture.ocimount(['umount', other])
    t.match(await mounted.fixture.ocimount(['cache', 'verify']), { status: 0, stdout: '' })
  },
  unfit,
)

eachDriver(
  t,
  'a flipped bit in the third span is found when that is read, and nothing else is',
  async (t, driver) => {
    const mounted = await mount(t, driver)
    const indexes = join(mounted.fixture.dir, 'cache/blob-index/sha256')
    const index = join(indexes, readdirSync(indexes)[0] ?? '')
    const { records } = decodeSpanTable(unseal(readFileSync(index), index))
    await mounted.fixture.ocimount(['umount', mounted.mountpoint])
    const blob = readFileSync(blobPath(mounted))
    const at = Number(records.readBigUInt64LE(2 * 64 + 8)) + 500
    blob[at] = (blob[at] ?? 0) ^ 4
    writeFileSync(blobPath(mounted), blob)
    // Known by its digest, and so not read again.
    const args = ['--driver', driver, mounted.image, mounted.mountpoint]
    const again = await mounted.fixture.ocimount(args)
    t.equal(again.status, 0, again.stderr)
    // Behind it, since readers of what is in front have it filled ahead.
    t.strictSame(await readsRightOr(t, mounted, [8, 29]), [])
    t.strictSame((await deviceOf(mounted)).faults, [])
    t.strictSame(await readsRightOr(t, mounted, [2]), ['EIO'])
    t.match((await deviceOf(mounted)).faults, [{ spans: /2/ }])
    const { stdout } = await mounted.fixture.ocimount(['status', mounted.mountpoint])
    t.match(stdout, /^ {2}Fault: +Cannot read spans? [\d-]*2[\d-]* of layer sha256:/m)
  },
  unfit,
)

function writeOver(path: string): void {
  writeFileSync(path, Buffer.alloc(statSync(path).size, 1))
}

/** What was open stays open under another name. */
function replace(path: string): string {
  linkSync(path, `${path}-old`)
  writeFileSync(`${path}-new`, Buffer.alloc(statSync(path).size, 1))
  renameSync(`${path}-new`, path)
  return `${path}-old`
}

eachDriver(
  t,
  'a blob that is replaced or cut while mounted gives no other bytes',
  async (t, driver) => {
    const mounted = await mount(t, driver)
    t.strictSame(await readsRightOr(t, mounted, [3]), [])
    const opened = replace(blobPath(mounted))
    for (const error of await readsRightOr(t, mounted, [10])) t.equal(error, 'EIO')
    truncateSync(opened, 1000)
    t.strictSame(await readsRightOr(t, mounted, [20, 25]), ['EIO', 'EIO'])
    t.strictSame(await readsRightOr(t, mounted, [3]), [], 'what the cache has stays readable')
  },
  unfit,
)

eachDriver(
  t,
  'cache files that are forged, cut and replaced while mounted change nothing',
  async (t, driver) => {
    const mounted = await mount(t, driver)
    const numbers = [3, 12, 20]
    t.strictSame(await readsRightOr(t, mounted, [3, 12]), [])
    const files = readdirSync(join(mounted.fixture.dir, 'cache'), {
      recursive: true,
      withFileTypes: true,
    })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => /\/(?:layers|rootfs|blob-index|archives)\//.test(path))
    t.ok(
      files.some((path) => path.endsWith('.erofs')) && files.some((path) => path.endsWith('toc')),
    )
    // Not the data: what of it was checked is not hashed again by native threads while its length is right.
    for (const path of files) if (!path.endsWith('/data')) writeOver(path)
    t.strictSame(await readsRightOr(t, mounted, numbers), [], 'written over')
    for (const path of files) truncateSync(path, 1000)
    t.strictSame(await readsRightOr(t, mounted, numbers), [], 'cut')
    for (const path of files) replace(path)
    t.strictSame(await readsRightOr(t, mounted, numbers), [], 'replaced')
    await mounted.fixture.ocimount(['umount', mounted.mountpoint])
    const args = ['--driver', driver, mounted.image, mounted.mountpoint]
    const again = await mounted.fixture.ocimount(args)
    t.equal(again.status, 0, again.stderr)
    t.strictSame(await readsRightOr(t, mounted, numbers), [], 'mounted again')
  },
  unfit,
)

/** Mounts with the cache on a disk of `size`, reads twice, unmounts; gives what the mounting said. */
async function useFullDisk(t: Test, driver: DriverCase['name'], size: string): Promise<string> {
  const fixture = cliFixture(t)
  const disk = fixture.mountpoint('disk')
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'tmpfs', disk])
  const image = writeImage(join(fixture.dir, 'layout'), [IMAGE], { form: 'oci' })
  const mountpoint = fixture.mountpoint()
  const env = { OCIMOUNT_CACHE_DIR: join(disk, 'cache') }
  const { status, stderr } = await fixture.ocimount(['--driver', driver, image, mountpoint], {
    env,
  })
  t.equal(status, 0, stderr)
  const served = { fixture, image, mountpoint, stderr }
  for (const round of [1, 2]) {
    t.strictSame(await readsRightOr(t, served, [0, 1, 12, 20, 29]), [], `round ${round}`)
  }
  const runtime = join(fixture.dir, 'run')
  // In the directory of the mount, or of the lower that it shares.
  const logs = readdirSync(runtime).map((name) => join(runtime, name, 'log'))
  const log = readFileSync(logs.find((path) => existsSync(path)) ?? '', 'utf8')
  t.ok((log.match(/takes no pieces/g) ?? []).length <= 1, log)
  const ended = await fixture.ocimount(['umount', mountpoint], { env })
  t.equal(ended.status, 0, ended.stderr)
  t.strictSame(readdirSync(runtime), [])
  return stderr
}

eachDriver(
  t,
  'a disk that is full for pieces: they are read all the same',
  async (t, driver) => {
    const said = await useFullDisk(t, driver, '1m')
    t.ok((said.match(/no space left/g) ?? []).length <= 1, said)
  },
  unfit,
)

// What reads the pieces is the same as without a full disk.
t.test('a disk that is full for the index: that is told once', { skip: noFuse }, async (t) => {
  const said = await useFullDisk(t, 'fuse', '64k')
  t.equal((said.match(/no space left/g) ?? []).length, 1, said)
})

t.test(
  'a full disk: what looks into the image works, and leaves nothing',
  { skip: noFuse },
  async (t) => {
    const fixture = cliFixture(t)
    const disk = fixture.mountpoint('disk')
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'tmpfs', disk])
    const image = writeImage(join(fixture.dir, 'layout'), [IMAGE], { form: 'oci' })
    const temporary = fixture.mountpoint('tmp')
    const env = { OCIMOUNT_CACHE_DIR: join(disk, 'cache'), TMPDIR: temporary }
    const warning =
      /^ocimount: warning: Cannot [^\n]*no space left[^\n]*; went on without the cache\n$/
    const commands: readonly (readonly [readonly string[], RegExp])[] = [
      [['ls', image], /^f0\nf1\n[^]*\nsmall\n$/],
      [['tree', image], /\n0 directories, 31 files\n$/],
      [['stat', image, '/small'], /^size +4096$/m],
    ]
    for (const [args, stdout] of commands) {
      t.match(await fixture.ocimount(args, { env }), { status: 0, stdout, stderr: warning })
    }
    const [program, ...first] = COMMAND
    const printed = spawnSync(program, [...first, 'cat', image, 'small', 'f29'], {
      env: { ...process.env, ...env },
      maxBuffer: 1 << 24,
    })
    t.match(printed.stderr.toString(), warning)
    const want = [CONTENTS[0]!.subarray(0, SMALL), CONTENTS[29]!]
    t.ok(printed.status === 0 && printed.stdout.equals(Buffer.concat(want)))
    t.strictSame(readdirSync(temporary), [])
  },
)

t.test('a full disk refuses a zstd layer in one line', { skip: noFuse }, async (t) => {
  const fixture = cliFixture(t)
  const disk = fixture.mountpoint('disk')
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'tmpfs', disk])
  const packed = buildImage({ tags: ['z'], layers: [{ tar: TAR, compression: 'zstd' }] })
  const image = writeImage(join(fixture.dir, 'layout'), [packed], { form: 'oci' })
  const env = { OCIMOUNT_CACHE_DIR: join(disk, 'cache') }
  const refused = await fixture.ocimount([image, fixture.mountpoint()], { env })
  t.equal(refused.status, 8)
  t.match(refused.stderr, /^ocimount: Cannot .*zstd layer has to be unpacked whole.*\n$/)
  t.strictSame(fixture.mounts(), [disk])
})
