// The addon's server behind real mounts of both kinds. Whatever looks at a mount runs in a process of its own.

import { spawn, type ChildProcess } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { closeSync, fstatSync, futimesSync, mkdirSync } from 'node:fs'
import { openSync, readFileSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { writeErofs } from '../../src/erofs/writer.js'
import type { FuseServer, FuseServerOptions, NativeDevice } from '../../src/native.js'
import { kernelSkipReason } from '../helpers/erofs-kernel.js'
import { directory, file, symlink } from '../helpers/erofs-tree.js'
import { addon, addonSkipReason, layerLikeBytes, PIECE_SIZE } from '../helpers/native-addon.js'
import { rootSkipReason, run, scratchDirectory } from '../helpers/with-mount.js'

const KINDS = ['erofs', 'flat'] as const
type Kind = (typeof KINDS)[number]

const LAYER = layerLikeBytes(3 * PIECE_SIZE + 700, 3)
const FLAGS = { suid: false, dev: false, noexec: false }
const SLOW = 20_000
const NO_USE = new Uint8Array(0)

function skipReason(kind: Kind): string | false {
  return addonSkipReason() || rootSkipReason() || (kind === 'flat' && kernelSkipReason())
}

function image(): Buffer {
  const whole = { fileOffset: 0, device: 0, deviceOffset: 0, length: LAYER.length }
  const tree = directory({
    whole: file(LAYER.length, [whole]),
    end: file(188, [{ fileOffset: 0, device: 0, deviceOffset: 3 * PIECE_SIZE + 512, length: 188 }]),
    nested: directory({ link: symlink('../whole') }),
  })
  return writeErofs(tree, [{ tag: 'layer', size: LAYER.length }]).image
}

interface Wanted {
  readonly offset: number
  readonly length: number
}

interface Served {
  readonly server: FuseServer
  readonly mountpoint: string
  readonly faults: string[]
}

/** Mounts the image over one device; detached with the test if it still stands then. */
async function serve(
  t: Test,
  kind: Kind,
  device: NativeDevice,
  onMiss?: (server: FuseServer, piece: number, count: number, wanted: Wanted) => void,
): Promise<Served> {
  const scratch = scratchDirectory(t)
  const mountpoint = join(scratch, 'mnt')
  mkdirSync(mountpoint)
  const native = addon()
  const metadata = image()
  const fd = native.openFuseDevice()
  const faults: string[] = []
  const number = kind === 'flat' ? 1 : 0
  const options: FuseServerOptions = {
    fd,
    kind,
    metadata: kind === 'flat' ? undefined : metadata,
    devices: [
      ...(kind === 'flat'
        ? [{ kind: 'memory', size: metadata.length, bytes: metadata } as const]
        : []),
      device,
    ],
    threads: 3,
    checksAccess: false,
    onMiss: (missing, piece, count, offset, length) => {
      t.equal(missing, number, 'the number of the device')
      onMiss?.(server, piece, count, { offset, length })
    },
    onFault: (faulty, errno, what) => {
      faults.push(`${faulty} ${errno} ${what}`)
    },
  }
  const server = new native.FuseServer(options)
  t.teardown(async () => {
    await run(['umount', '-l', mountpoint])
    server.stop()
    await server.ended
  })
  if (kind === 'flat') {
    const sourceLink = join(scratch, 'ocimount:test')
    const place = { mountpoint, sourceLink, flags: FLAGS }
    await native.mountErofs({ fuseFd: fd, deviceCount: 1, readAheadKib: 1024, ...place })
  } else {
    const place = { mountpoint, fsName: 'a,b c', flags: FLAGS }
    await native.mountFuse({ fuseFd: fd, allowOther: true, ...place })
  }
  return { server, mountpoint, faults }
}

/** Reads a file in another process; gives its bytes, or the error's name. */
async function read(path: string): Promise<Buffer | string> {
  const script = `try {
    process.stdout.write(fs.readFileSync(process.argv[1]).toString('base64'))
  } catch (error) { process.stdout.write('!' + error.code) }`
  const { stdout } = await run([process.execPath, '-e', script, path])
  return stdout.startsWith('!') ? stdout.slice(1) : Buffer.from(stdout, 'base64')
}

function openLayer(t: Test): number {
  const path = join(scratchDirectory(t), 'layer')
  const fd = openSync(path, 'w+')
  t.teardown(() => {
    closeSync(fd)
  })
  return fd
}

function region(fd: number): NativeDevice {
  const { size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true })
  const place = { fd, offset: 100, size: LAYER.length }
  return { kind: 'region', ...place, fileSize: Number(size), mtimeNs, ctimeNs }
}

for (const kind of KINDS) {
  t.test(`${kind}: a layer in memory`, { skip: skipReason(kind) }, async (t) => {
    const bytes = LAYER
    const served = await serve(t, kind, { kind: 'memory', size: LAYER.length, bytes })
    const { server, mountpoint } = served
    const mount = readFileSync('/proc/self/mountinfo', 'latin1')
      .split('\n')
      .find((line) => line.includes(mountpoint))
    t.match(mount, kind === 'flat' ? / - erofs .*ocimount:test / : / - fuse\.ocimount a,b\\040c /)
    t.match(mount, / ro,nosuid,nodev,relatime /)
    const listing = await run(['find', mountpoint, '-printf', '%P %y %s %l\n'])
    t.strictSame(
      listing.stdout
        .split('\n')
        .filter((line) => !/^\S* d /.test(line))
        .sort(),
      ['', 'end f 188 ', 'nested/link l 8 ../whole', `whole f ${LAYER.length} `],
    )
    t.strictSame(await read(join(mountpoint, 'nested/link')), LAYER)
    t.strictSame(await read(join(mountpoint, 'end')), LAYER.subarray(-188))
    const { requests, reads, bytesRead, misses } = server.stats()
    t.ok(requests > reads && reads > 0)
    t.ok(bytesRead >= LAYER.length)
    t.equal(misses, 0)

    t.equal((await run(['umount', mountpoint])).status, 0)
    await server.ended
    t.ok(server.stats().requests >= requests, 'still there after the end')
    server.complete(0, 0, 1, 0)
    server.fail(0, constants.errno.EIO)
    server.stop()
  })

  t.test(`${kind}: a region of a file that changes`, { skip: skipReason(kind) }, async (t) => {
    const fd = openLayer(t)
    writeSync(fd, Buffer.concat([Buffer.alloc(100), LAYER]))
    // The year 2400: nanoseconds that do not fit into 64 bits.
    futimesSync(fd, 0, 13_569_465_600)
    const { mountpoint, faults } = await serve(t, kind, region(fd))
    t.strictSame(await read(join(mountpoint, 'end')), LAYER.subarray(-188))
    writeSync(fd, Buffer.alloc(1), 0, 1, 0)
    t.equal(await read(join(mountpoint, 'whole')), 'EIO')
    t.equal(await read(join(mountpoint, 'whole')), 'EIO')
    t.equal(faults.length, 1, 'told once')
  })

  t.test(
    `${kind}: pieces that come when they are wanted`,
    { skip: skipReason(kind) },
    async (t) => {
      const fd = openLayer(t)
      const state = new Uint8Array(4)
      const asked: number[] = []
      const device: NativeDevice = {
        kind: 'pieces',
        size: LAYER.length,
        fd,
        state,
        use: NO_USE,
        hasParts: false,
      }
      const number = kind === 'flat' ? 1 : 0
      const { mountpoint, server } = await serve(t, kind, device, (server, first, count) => {
        setTimeout(() => {
          for (let piece = first; piece < first + count; piece++) {
            asked.push(piece)
            const bytes = LAYER.subarray(piece * PIECE_SIZE, (piece + 1) * PIECE_SIZE)
            if (piece === 1) {
              // As with a full disk.
              server.completeWithBytes(number, piece, bytes)
            } else {
              writeSync(fd, bytes, 0, bytes.length, piece * PIECE_SIZE)
              Atomics.store(state, piece, 2)
              server.complete(number, piece, 1, 0)
            }
          }
        }, 5)
      })
      t.strictSame(await read(join(mountpoint, 'end')), LAYER.subarray(-188))
      t.strictSame([...new Set(asked)], [3], 'no other piece was asked for')
      const all = await Promise.all([1, 2, 3, 4].map(() => read(join(mountpoint, 'whole'))))
      for (const bytes of all) t.ok(LAYER.equals(bytes as Buffer))
      t.strictSame([...new Set(asked)].sort(), [0, 1, 2, 3])
      t.ok(server.stats().misses >= 4)
    },
  )

  t.test(`${kind}: parts of pieces`, { skip: skipReason(kind) }, async (t) => {
    const fd = openLayer(t)
    const state = new Uint8Array(4)
    const device: NativeDevice = {
      ...{ kind: 'pieces', size: LAYER.length, fd, state, use: NO_USE },
      hasParts: true,
    }
    const number = kind === 'flat' ? 1 : 0
    let answers = 0
    const { mountpoint } = await serve(t, kind, device, (server, piece, count, wanted) => {
      const { offset, length } = wanted
      t.ok(offset >= piece * PIECE_SIZE && offset + length <= (piece + count) * PIECE_SIZE)
      answers++
      server.completePart(number, offset, LAYER.subarray(offset, offset + length))
    })
    t.strictSame(await read(join(mountpoint, 'end')), LAYER.subarray(-188))
    const all = await Promise.all([1, 2, 3, 4].map(() => read(join(mountpoint, 'whole'))))
    for (const bytes of all) t.ok(LAYER.equals(bytes as Buffer))
    t.ok(answers > 1)
    t.strictSame([...state], [0, 0, 0, 0])
  })

  t.test(`${kind}: pieces that cannot be had`, { skip: skipReason(kind) }, async (t) => {
    const state = new Uint8Array(4)
    const fd = openLayer(t)
    const device: NativeDevice = {
      kind: 'pieces',
      size: LAYER.length,
      fd,
      state,
      use: NO_USE,
      hasParts: false,
    }
    const number = kind === 'flat' ? 1 : 0
    let answers = 0
    const { mountpoint, server } = await serve(t, kind, device, (server, piece, count) => {
      answers++
      server.complete(number, piece, count, constants.errno.EIO)
    })
    t.equal(await read(join(mountpoint, 'end')), 'EIO')
    t.ok(answers > 0)
    server.fail(number, constants.errno.EIO)
    const before = answers
    t.equal(await read(join(mountpoint, 'end')), 'EIO')
    t.equal(answers, before, 'a failed device asks for nothing')
  })

  t.test(`${kind}: stop answers what waits`, { skip: skipReason(kind) }, async (t) => {
    const state = new Uint8Array(4)
    const fd = openLayer(t)
    const device: NativeDevice = {
      kind: 'pieces',
      size: LAYER.length,
      fd,
      state,
      use: NO_USE,
      hasParts: false,
    }
    const events = new EventEmitter()
    const { mountpoint, server } = await serve(t, kind, device, () => {
      events.emit('miss')
    })
    const reading = read(join(mountpoint, 'end'))
    await once(events, 'miss')
    server.stop()
    await server.ended
    t.match(await reading, /^(EIO|ENOTCONN|ECONNABORTED)$/)
  })

  t.test(
    `${kind}: a killed server leaves no reader behind`,
    { skip: skipReason(kind) },
    async (t) => {
      const mountpoint = join(scratchDirectory(t), 'mnt')
      mkdirSync(mountpoint)
      const child = spawnServer(kind, mountpoint)
      const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
      t.equal((await lines.next()).value, 'mounted')
      const reading = read(join(mountpoint, 'end'))
      t.equal((await lines.next()).value, 'miss')
      child.kill('SIGKILL')
      await once(child, 'exit')
      t.match(await reading, /^(EIO|ENOTCONN|ECONNABORTED)$/)
      t.equal((await run(['umount', mountpoint])).status, 0)
    },
  )

  t.test(`${kind}: a process that exits while it serves`, { skip: skipReason(kind) }, async (t) => {
    const mountpoint = join(scratchDirectory(t), 'mnt')
    mkdirSync(mountpoint)
    const child = spawnServer(kind, mountpoint, 'exit')
    const [status, signal] = (await once(child, 'exit')) as [number | null, string | null]
    t.strictSame([status, signal], [7, null])
    await run(['umount', mountpoint])
  })
}

/** A process that mounts, tells so, and answers no miss. */
function spawnServer(kind: Kind, mountpoint: string, then = 'stay'): ChildProcess {
  const serverScript = new URL('../helpers/native-server.js', import.meta.url).pathname
  return spawn(process.execPath, [serverScript, kind, mountpoint, then], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: SLOW,
  })
}

t.test('a server that cannot be', { skip: skipReason('erofs') }, async (t) => {
  const native = addon()
  const make = (changes: object): FuseServer =>
    new native.FuseServer({
      fd: native.openFuseDevice(),
      kind: 'erofs',
      metadata: image(),
      devices: [{ kind: 'memory', size: LAYER.length, bytes: LAYER }],
      threads: 2,
      checksAccess: true,
      onMiss: () => undefined,
      onFault: () => undefined,
      ...changes,
    })
  t.throws(() => make({ metadata: Buffer.alloc(10_000) }), 'no image')
  t.throws(() => make({ metadata: undefined }), /metadata/)
  t.throws(() => make({ devices: [{ kind: 'memory', size: 99, bytes: Buffer.alloc(98) }] }))
  t.throws(() => make({ devices: [{ kind: 'unknown', size: 99 }] }), /kind/)
  t.throws(() => make({ devices: 7 }), /devices/)
  t.throws(() => make({ onMiss: undefined }), /onMiss/)
  t.throws(() => make({ threads: 1e9 }), /threads/)

  const server = make({})
  server.stop()
  await server.ended
  t.equal(server.stats().requests, 0, 'one that was never mounted ends too')
})
