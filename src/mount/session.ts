// Tells when a FUSE filesystem that this process serves is gone. libfuse 2 leaves its loop then and closes its
// descriptor of /dev/fuse, but fuse-native passes nothing on, and Node.js cannot poll(2) the descriptor.
//
// So there are two signs:
// - inotify says IN_UNMOUNT (to fs.watch: 'rename') when the superblock dies, wherever its last mount was: another
//   mount namespace, a lazy unmount with open files, an overlay that has it as a lower. The table of mounts knows
//   none of these, which is why it is not asked.
// - The descriptor is no longer /dev/fuse. Looked at every second, for what inotify cannot tell: a connection that
//   was aborted, no watches left, or a root directory that we may not read.
//
// fs.watch looks the path up on the JavaScript thread, which must never wait for a request to the filesystem that the
// same thread serves. test(1), run before, makes the kernel hold the root's attributes, for ever; only if it succeeded the
// watch asks nothing. Whoever does that must not have the descriptor of /dev/fuse, neither as a thread of ours nor by
// inheritance: when this process is killed meanwhile, the connection would live for as long as that waits for an answer,
// and that waits for as long as the connection lives.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { watch, type FSWatcher } from 'node:fs'
import { open, readdir, readFile, readlink } from 'node:fs/promises'
import { log } from '../logger.js'
import { messageOf, systemErrorCode } from '../errors.js'

const FUSE_DEVICE = '/dev/fuse'
const POLL_MS = 1000

/** The session behind a mount; `ended` never rejects. */
export interface Session {
  readonly ended: Promise<void>
}

/** Watches the session behind a fresh mount of this process, whose filesystem is `device`. */
export async function watchSession(mountpoint: string, device: string): Promise<Session> {
  const descriptor = await findDescriptor(device)
  const watcher = descriptor === undefined ? undefined : await watchRoot(mountpoint, descriptor)
  const ended = new Promise<void>((resolve) => {
    // Neither keeps the process alive; the handles of fuse-native do.
    const timer = setInterval(() => {
      void isOpen(descriptor).then((open) => {
        if (!open) end()
      })
    }, POLL_MS).unref()
    watcher?.on('change', (event) => {
      if (event === 'rename') end()
    })
    function end(): void {
      clearInterval(timer)
      watcher?.close()
      resolve()
    }
  })
  return { ended }
}

/** Finds the descriptor whose FUSE connection is that of the filesystem; their number is the minor device number. */
async function findDescriptor(device: string): Promise<string | undefined> {
  const connection = device.slice(device.indexOf(':') + 1)
  let candidate: string | undefined
  for (const descriptor of await readdir('/proc/self/fd')) {
    if (!(await isOpen(descriptor))) continue
    const info = await readFile(`/proc/self/fdinfo/${descriptor}`, 'latin1')
    const told = /^fuse_connection:\s*(\d+)/m.exec(info)?.[1]
    if (told === connection) return descriptor
    // Kernels before 6.14 do not tell; there the newest one, which in a serving process is the only one.
    if (told === undefined) candidate = descriptor
  }
  return candidate
}

async function isOpen(descriptor: string | undefined): Promise<boolean> {
  if (descriptor === undefined) return true
  try {
    return (await readlink(`/proc/self/fd/${descriptor}`)) === FUSE_DEVICE
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    log.warn({ error: messageOf(error) }, 'Cannot tell whether the mount is still there')
    return true
  }
}

async function watchRoot(mountpoint: string, descriptor: string): Promise<FSWatcher | undefined> {
  try {
    await readAttributes(mountpoint, Number(descriptor))
    const watcher = watch(mountpoint, { persistent: false })
    watcher.on('error', (error) => {
      log.debug({ error: messageOf(error) }, 'Lost the watch on the mount point')
    })
    return watcher
  } catch (error) {
    log.debug({ error: messageOf(error) }, 'Cannot watch the mount point; it is looked at instead')
    return undefined
  }
}

/** Has the kernel ask for the attributes of the root, by a process that has something else at the descriptor. */
async function readAttributes(mountpoint: string, descriptor: number): Promise<void> {
  const nothing = await open('/dev/null')
  try {
    const stdio = Array.from({ length: descriptor + 1 }, (_, place) =>
      place === descriptor ? nothing.fd : 'ignore',
    )
    const child = spawn('test', ['-r', mountpoint], { stdio })
    const [status] = (await once(child, 'exit')) as [number | null]
    if (status !== 0) throw new Error('it may not be read')
  } finally {
    await nothing.close()
  }
}
