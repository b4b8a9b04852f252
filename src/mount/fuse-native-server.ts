// Adapts the operations to the handlers of fuse-native. Each handler is called on the JavaScript thread while a
// libfuse thread waits; it answers through `signal`, once, whatever happens: a call without an answer is a process
// in state D, an exception that escapes is the end of the server.

import { constants } from 'node:os'
import { byteStringOf, escapeName, textOf } from '../byte-string.js'
import type { FaultLog } from './fault-log.js'
import type { FuseBase, FuseClass, Signal } from './fuse-native-types.js'
import { READ_ONLY, type RootfsOperations } from './operations.js'
import { fillDirectoryStat, fillStat, STAT_WORDS } from './stat-array.js'

const { EIO, ENOSYS, ERANGE } = constants.errno

/** What libfuse is to pass on. `flush`, `fgetattr` and `opendir` are missing: it answers those itself. */
const READING = ['getattr', 'access', 'open', 'read', 'readdir', 'readlink'] as const
const ASKING = ['statfs', 'getxattr', 'listxattr'] as const
/** Asked for only when root remounts with `rw`: the kernel itself refuses on a mount that is `ro`. */
const CHANGING = [
  ...(['mknod', 'mkdir', 'unlink', 'rmdir', 'symlink', 'rename', 'link', 'create'] as const),
  ...(['chmod', 'chown', 'truncate', 'ftruncate', 'utimens', 'removexattr'] as const),
] as const
/** These carry a buffer of libfuse that must be given back; the number is its place among the arguments. */
const CHANGING_WITH_BUFFER = { write: 2, setxattr: 2 } as const

const OPERATIONS: Readonly<Record<string, true>> = Object.fromEntries(
  [...READING, ...ASKING, ...CHANGING, ...Object.keys(CHANGING_WITH_BUFFER)].map((name) => [
    name,
    true,
  ]),
)

/** Makes the object that serves one mount; `optionString` is what libfuse gets after `-o`. */
export function createServer(
  Fuse: FuseClass,
  place: { readonly mountpoint: string; readonly optionString: string },
  rootfs: { readonly operations: RootfsOperations; readonly faults: FaultLog },
): FuseBase {
  const { operations, faults } = rootfs
  // One for all calls: what a handler signals is handed over before the next handler runs, since fuse-native
  // passes it to process.nextTick and every handler is a turn of the event loop of its own.
  const stat = new Uint32Array(STAT_WORDS)

  function resolve(path: string): number {
    return operations.resolve(byteStringOf(path))
  }

  function signalStat(signal: Signal, nid: number): void {
    if (nid < 0) {
      signal(nid)
      return
    }
    fillStat(stat, operations.attributes(nid))
    signal(0, stat)
  }

  const handlers: Record<string, (signal: Signal, ...args: never[]) => void> = {
    getattr(signal, path: string) {
      signalStat(signal, resolve(path))
    },

    access(signal, path: string, wanted: number) {
      const nid = resolve(path)
      signal(nid < 0 ? nid : operations.access(nid, wanted))
    },

    // ENOSYS tells the kernel that opening needs no answer: it lets the program in, never asks again and sends no
    // release either, which saves a third of the requests for a small file. (After `mount -o remount,rw` an
    // open for writing succeeds then, and the write is what gets EROFS.)
    open(signal, path: string, flags: number) {
      const nid = resolve(path)
      const result = nid < 0 ? nid : operations.open(nid, flags)
      signal(result < 0 ? result : -ENOSYS, 0)
    },

    read(
      signal,
      path: string,
      _handle: number,
      target: Buffer,
      _length: number,
      offsetLow: number,
      offsetHigh: number,
    ) {
      const nid = resolve(path)
      if (nid < 0) {
        signal(nid, 0, target.buffer)
        return
      }
      operations.read(nid, target, offsetLow + offsetHigh * 2 ** 32).then(
        (length) => {
          signal(length, 0, target.buffer)
        },
        (error: unknown) => {
          signal(faults.report('read', error), 0, target.buffer)
        },
      )
    },

    readdir(signal, path: string) {
      const nid = resolve(path)
      const entries = nid < 0 ? nid : operations.readdir(nid)
      if (typeof entries === 'number') {
        signal(entries)
        return
      }
      const names: string[] = []
      const found: { readonly nid: number; readonly type: number }[] = []
      for (const entry of entries) {
        const name = textOf(entry.name)
        if (name === undefined) continue
        names.push(name)
        found.push(entry)
      }
      // One allocation for the whole directory, a view of it for each entry.
      const words = new Uint32Array(names.length * STAT_WORDS)
      const stats = found.map((entry, index) => {
        const view = words.subarray(index * STAT_WORDS, (index + 1) * STAT_WORDS)
        fillDirectoryStat(view, entry.nid, entry.type)
        return view
      })
      signal(0, names, stats)
    },

    readlink(signal, path: string) {
      const nid = resolve(path)
      const target = nid < 0 ? nid : operations.readlink(nid)
      if (target === -EIO) faults.note('readlink', new Error(notUtf8(path)))
      if (typeof target === 'number') signal(target)
      else signal(0, target)
    },

    statfs(signal) {
      const { blockSize, blocks, files, maxNameBytes } = operations.statfs()
      const words = new Uint32Array(11)
      // bsize, frsize, blocks, bfree, bavail, files, ffree, favail, fsid, flag, namemax
      words.set([blockSize, blockSize, Math.min(blocks, 2 ** 32 - 1), 0, 0, files], 0)
      words[10] = maxNameBytes
      signal(0, words)
    },

    getxattr(signal, path: string, name: string, buffer: Buffer) {
      const nid = resolve(path)
      const value = nid < 0 ? nid : operations.getxattr(nid, byteStringOf(name))
      signal(typeof value === 'number' ? value : copyOut(value, buffer), buffer.buffer)
    },

    listxattr(signal, path: string, buffer: Buffer) {
      const nid = resolve(path)
      const list = nid < 0 ? nid : operations.listxattr(nid)
      signal(typeof list === 'number' ? list : copyOut(list, buffer), buffer.buffer)
    },
  }
  for (const name of CHANGING) {
    handlers[name] = (signal) => {
      signal(READ_ONLY)
    }
  }
  handlers['write'] = (signal, _path: string, _handle: number, buffer: Buffer) => {
    signal(READ_ONLY, 0, buffer.buffer)
  }
  handlers['setxattr'] = (signal, _path: string, _name: string, buffer: Buffer) => {
    signal(READ_ONLY, buffer.buffer)
  }

  class Server extends Fuse {
    _fuseOptions(): string {
      return `-o${place.optionString}`
    }
  }
  for (const [name, handler] of Object.entries(handlers)) {
    Object.defineProperty(Server.prototype, `_op_${name}`, {
      value: guard(name, handler as Handler, faults),
    })
  }
  return new Server(place.mountpoint, OPERATIONS, { timeout: false })
}

type Handler = (signal: Signal, ...args: unknown[]) => void

/** Answers for a handler that throws; the one place through which every call goes. */
function guard(name: string, handler: Handler, faults: FaultLog): Handler {
  return (signal, ...args) => {
    try {
      handler(signal, ...args)
    } catch (error) {
      const result = faults.report(name, error)
      const buffer = args.find((value) => Buffer.isBuffer(value))
      // Where a buffer of libfuse came in, it has to go back, at the place where its signal looks for it.
      if (buffer === undefined) signal(result)
      else if (name === 'read' || name === 'write') signal(result, 0, buffer.buffer)
      else signal(result, buffer.buffer)
    }
  }
}

/** Copies a value out as getxattr(2) has it: an empty buffer asks for the size, a short one is -ERANGE. */
function copyOut(value: Buffer, buffer: Buffer): number {
  if (buffer.length === 0) return value.length
  if (value.length > buffer.length) return -ERANGE
  value.copy(buffer)
  return value.length
}

function notUtf8(path: string): string {
  return `Cannot show the target of ${escapeName(byteStringOf(path))}: it is not UTF-8, which the driver fuse-native needs`
}
