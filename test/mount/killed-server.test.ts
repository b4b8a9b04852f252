// What readers see when the serving process is killed, and when a layer turns bad under a mount: an error within a second,
// never a byte that is not the image's.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  writeSync,
  ftruncateSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { OcimountError } from '../../src/errors.js'
import type { LayerDevice } from '../../src/layer/device.js'
import { listMounts } from '../../src/mount/list-mounts.js'
import { mountAt, readMountinfo } from '../../src/mount/mountinfo.js'
import { contiguous, directory } from '../helpers/erofs-tree.js'
import { DRIVER_CASES, eachDriver, type DriverCase } from '../helpers/mount-drivers.js'
import {
  memoryDevice,
  rootSkipReason,
  run,
  scratchDirectory,
  serve,
  targetOf,
} from '../helpers/with-mount.js'

const SERVER = fileURLToPath(new URL('../helpers/serve-big.js', import.meta.url))
const STUCK_SERVER = fileURLToPath(new URL('../helpers/serve-stuck.js', import.meta.url))
const READERS = 8
const IN_TIME_MS = 1000
const ERRORS = ['EIO', 'ENOTCONN', 'ECONNABORTED']

// Reads the whole file again and again, past the page cache's copy; every byte of it is `a`.
const READER = `
import errno, os, sys, time
begin = time.monotonic()
file = None
print('reading', flush=True)
try:
    while True:
        file = os.open(sys.argv[1], os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        while part := os.read(file, 1 << 16):
            if part.strip(b'a'):
                print('WRONG')
                sys.exit(1)
        os.close(file)
except OSError as error:
    is_late = len(sys.argv) > 2 and time.monotonic() - begin > float(sys.argv[2])
    print('LATE' if is_late else errno.errorcode[error.errno])
`

interface Started {
  readonly child: ChildProcess
  readonly mountpoint: string
  readonly runtimeDir: string
}

async function start(
  t: Test,
  driver: DriverCase['name'],
  ...more: readonly string[]
): Promise<Started> {
  const path = scratchDirectory(t)
  const runtimeDir = join(path, 'state')
  const mountpoint = join(path, 'mnt')
  mkdirSync(mountpoint)
  process.env['OCIMOUNT_RUNTIME_DIR'] = runtimeDir
  const child = spawn(process.execPath, [SERVER, mountpoint, driver, ...more], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  return { child, mountpoint, runtimeDir }
}

async function said({ child }: Started, word: string): Promise<void> {
  let text = ''
  while (!text.includes(`${word}\n`)) text += String((await once(child.stdout!, 'data'))[0])
}

async function kill({ child }: Started): Promise<void> {
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

/** Listing finds the dead mount and leaves neither it nor its state. */
async function checkCleanedUp(t: Test, { mountpoint, runtimeDir }: Started): Promise<void> {
  t.strictSame(await listMounts(), [])
  t.equal(mountAt(await readMountinfo(), mountpoint), undefined)
  t.strictSame(readdirSync(runtimeDir), [])
}

eachDriver(t, 'killed while idle, absent bytes are errors', async (t, driver) => {
  const started = await start(t, driver)
  await said(started, 'ready')
  await kill(started)
  const { stdout } = await run([
    'python3',
    '-c',
    READER,
    join(started.mountpoint, 'big'),
    `${IN_TIME_MS / 1000}`,
  ])
  t.ok(ERRORS.includes(stdout.trim().split('\n').at(-1) ?? ''), stdout)
  await checkCleanedUp(t, started)
})

eachDriver(t, `killed while ${READERS} processes read, all end in time`, async (t, driver) => {
  const started = await start(t, driver)
  await said(started, 'ready')
  const readers = Array.from({ length: READERS }, (_, index) => {
    const path = join(started.mountpoint, index % 2 === 0 ? 'big' : `file-${index}`)
    const child = spawn('python3', ['-c', READER, path], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    let output = ''
    child.stdout.on('data', (text: Buffer) => (output += text.toString()))
    const reading = once(child.stdout, 'data')
    const closed = once(child, 'close').then(() => output)
    return { reading, closed }
  })
  await Promise.all(readers.map(({ reading }) => reading))
  await sleep(200)
  await kill(started)
  const late = sleep(IN_TIME_MS).then(() => 'late')
  for (const { closed } of readers) {
    const output = await Promise.race([closed, late])
    t.ok(ERRORS.includes(output.trim().split('\n').at(-1) ?? ''), output)
  }
  await checkCleanedUp(t, started)
})

eachDriver(t, 'killed during the start, nothing is left', async (t, driver) => {
  for (const delayMs of [0, 2, 5, 10, 20, 40]) {
    const started = await start(t, driver)
    await said(started, 'starting')
    await sleep(delayMs)
    await kill(started)
    await checkCleanedUp(t, started)
  }
})

eachDriver(
  t,
  'killed when mounted but not yet recorded, nothing is left',
  async (t, driver, known) => {
    const started = await start(t, driver, 'unrecorded')
    await said(started, 'ready')
    await kill(started)
    t.match(mountAt(await readMountinfo(), started.mountpoint), { fsType: known.fsType })
    await checkCleanedUp(t, started)
  },
)

// A thread that waits for an answer of its own process would keep the connection, and so itself, for ever.
t.test(
  'fuse-native: killed before it has answered for its own root, it ends',
  { skip: rootSkipReason() },
  async (t) => {
    const mountpoint = scratchDirectory(t)
    const child = spawn(process.execPath, [STUCK_SERVER, mountpoint], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.match(String((await once(child.stdout, 'data'))[0]), 'asked')
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    const ended = await Promise.race([exit.then(() => true), sleep(10_000, false)])
    t.ok(ended, 'ended')
    if (!ended) await run(['umount', '-f', mountpoint])
    await exit
  },
)

const CONTENT = Buffer.alloc(8 << 20, 'a')

function fileDevice(t: Test): { readonly fd: number; readonly device: LayerDevice } {
  const fd = openSync(join(scratchDirectory(t), 'archive'), 'w+')
  t.teardown(() => {
    closeSync(fd)
  })
  writeSync(fd, CONTENT)
  const { size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true })
  const region = { fd, offset: 0, size: CONTENT.length, fileSize: Number(size), mtimeNs, ctimeNs }
  return { fd, device: { ...memoryDevice(CONTENT), native: () => ({ kind: 'region', ...region }) } }
}

const CHANGES: Readonly<Record<string, (fd: number) => void>> = {
  'cut short': (fd) => {
    ftruncateSync(fd, 4096)
  },
  changed: (fd) => {
    writeSync(fd, 'b', 5 << 20)
  },
}

// fuse-native reads through the device itself: test/layer/file-device.test.ts.
for (const { name: driver, skip } of DRIVER_CASES.filter(({ name }) => name !== 'fuse-native')) {
  for (const [what, change] of Object.entries(CHANGES)) {
    t.test(`${driver}: an archive that is ${what} gives EIO`, { skip }, async (t) => {
      const { fd, device } = fileDevice(t)
      const root = directory({ big: contiguous(0, CONTENT.length) })
      const target = { ...targetOf(root, [CONTENT]), devices: [device] }
      const { mountpoint } = await serve(t, target, { driver })
      const head = await run(['head', '-c', '5', join(mountpoint, 'big')])
      t.equal(head.stdout, 'aaaaa')
      change(fd)
      const { stdout } = await run(['python3', '-c', READER, join(mountpoint, 'big')])
      t.match(stdout, /^reading\nEIO\n$/)
    })
  }
}

eachDriver(t, 'a layer that is found wrong gives EIO from then on', async (t, driver) => {
  let listener: ((error: OcimountError) => void) | undefined
  const failure = new OcimountError('DIGEST_MISMATCH', 'Cannot verify: the digest is wrong')
  let isWrong = false
  const inMemory = memoryDevice(CONTENT)
  const device: LayerDevice = {
    ...inMemory,
    read: async (part, deviceOffset) => {
      if (isWrong) throw failure
      await inMemory.read(part, deviceOffset)
    },
    onFailure: (one) => (listener = one),
  }
  const root = directory({ big: contiguous(0, CONTENT.length) })
  const target = { ...targetOf(root, [CONTENT]), devices: [device] }
  const mount = await serve(t, target, { driver })
  const path = join(mount.mountpoint, 'big')
  t.equal((await run(['head', '-c', '5', path])).stdout, 'aaaaa')
  // As verifyBehind() of cli/live-mount.ts does: no read after this, and the mount detached.
  isWrong = true
  listener?.(failure)
  t.match((await run(['python3', '-c', READER, path])).stdout, /^reading\nEIO\n$/)
  await mount.unmount({ lazy: true })
  t.equal(mountAt(await readMountinfo(), mount.mountpoint), undefined)
  await mount.finished
})

eachDriver(t, '127 devices mount', async (t, driver) => {
  const contents = Array.from({ length: 127 }, (_, index) => Buffer.alloc(600, index + 1))
  const files = contents.map((_, device) => [
    `f${device}`,
    {
      ...contiguous(0, 600),
      extents: [{ fileOffset: 0, device, deviceOffset: 0, length: 600 }],
    },
  ])
  const target = targetOf(
    directory(Object.fromEntries(files) as Parameters<typeof directory>[0]),
    contents,
  )
  const { mountpoint } = await serve(t, target, { driver })
  const script = 'cd "$0" && for i in $(seq 0 126); do cat "f$i"; done'
  const { stdout } = await run(['sh', '-c', script, mountpoint])
  t.equal(stdout, Buffer.concat(contents).toString())
})
