// Serves trees at real mount points from the test's own process. That process answers the kernel on its one
// JavaScript thread, so whatever looks at the mount runs in a process of its own, never as a call to node:fs here.

import { execFile, type ExecFileException } from 'node:child_process'
import { accessSync, constants, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { ErofsNode } from '../../src/erofs/node.js'
import { ErofsImage } from '../../src/erofs/reader.js'
import { writeErofs } from '../../src/erofs/writer.js'
import { messageOf } from '../../src/errors.js'
import type { LayerDevice } from '../../src/layer/device.js'
import type { MountTarget } from '../../src/mount/driver.js'
import { mountAt, readMountinfo } from '../../src/mount/mountinfo.js'
import { mountRootfs, type MountOptions, type RootfsMount } from '../../src/mount/mount.js'

/** Says why there is no FUSE here, or gives false. */
export function fuseSkipReason(): string | false {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
    return false
  } catch (error) {
    return `no FUSE here: ${messageOf(error)}`
  }
}

/** Says why nothing can be mounted with fuse-native here, or gives false. */
export function mountSkipReason(): string | false {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
    createRequire(import.meta.url)('fuse-native')
    return false
  } catch (error) {
    return `no FUSE here: ${messageOf(error).split('\n')[0] ?? ''}`
  }
}

/** The same for what only root may do. */
export function rootSkipReason(): string | false {
  return process.getuid?.() === 0 ? mountSkipReason() : 'mounting this needs root'
}

/** A device whose bytes are in memory; every read settles in a later turn of the event loop. */
export function memoryDevice(content: Buffer): LayerDevice {
  return {
    size: content.length,
    read: async (target, deviceOffset) => {
      await new Promise(setImmediate)
      if (deviceOffset + target.length > content.length) throw new Error('read behind the end')
      content.copy(target, 0, deviceOffset)
    },
    native: () => ({ kind: 'memory', size: content.length, bytes: content }),
    close: async () => undefined,
  }
}

/** Writes the image of a tree and gives it what its files need. */
export function targetOf(root: ErofsNode, contents: readonly Buffer[] = []): MountTarget {
  const table = contents.map((content, index) => ({ tag: `${index}`, size: content.length }))
  return {
    image: new ErofsImage(writeErofs(root, table).image),
    devices: contents.map(memoryDevice),
  }
}

/** What is mounted in a directory, in order; other tests mount elsewhere meanwhile. */
export async function mountsInside(path: string): Promise<string[]> {
  const mountpoints = (await readMountinfo()).map(({ mountpoint }) => mountpoint)
  return mountpoints.filter((mountpoint) => isInside(mountpoint, path))
}

/** A directory for mount points, gone with the test; what is still mounted in it is detached before. */
export function scratchDirectory(t: Test): string {
  // Not t.testdir(): removing that would walk into what is mounted there.
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'ocimount-test-')))
  t.teardown(async () => {
    for (const mountpoint of (await mountsInside(path)).reverse()) {
      const lazily = process.getuid?.() === 0 ? ['umount', '-l'] : ['fusermount3', '-uz']
      await run([...lazily, mountpoint])
    }
    rmSync(path, { recursive: true, force: true })
  })
  return path
}

/** Mounts in a fresh directory; unmounted with the test if it still stands then. */
export async function serve(
  t: Test,
  target: MountTarget,
  options: MountOptions & { readonly name?: string } = {},
): Promise<RootfsMount> {
  const mountpoint = join(scratchDirectory(t), options.name ?? 'mnt')
  mkdirSync(mountpoint)
  const mount = await mountRootfs(target, mountpoint, options)
  t.teardown(async () => {
    const entry = mountAt(await readMountinfo(), mount.mountpoint)
    if (entry?.device === mount.device) await mount.unmount({ lazy: true })
    await mount.finished
  })
  return mount
}

/** What a program said and how it ended. */
export interface Outcome {
  readonly status: number | string
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end. */
export async function run(command: readonly string[]): Promise<Outcome> {
  const [program = '', ...args] = command
  return new Promise((resolve) => {
    const done = (error: ExecFileException | null, stdout: string, stderr: string): void => {
      resolve({ status: error === null ? 0 : (error.code ?? error.signal ?? 1), stdout, stderr })
    }
    execFile(program, args, { maxBuffer: 1 << 28 }, done)
  })
}

/** Runs a Python script that prints one JSON value, and gives the value. */
export async function python(script: string, ...args: string[]): Promise<unknown> {
  const { status, stdout, stderr } = await run(['python3', '-c', script, ...args])
  if (status !== 0) throw new Error(`Python failed: ${stderr}`)
  return JSON.parse(stdout)
}

function isInside(mountpoint: string, path: string): boolean {
  return mountpoint === path || mountpoint.startsWith(`${path}/`)
}
