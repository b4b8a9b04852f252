// Mounts an image that is mounted at one place at another one: as it is, or below a writable overlay.
//
//   read-only:  a bind mount of the lower at MOUNTPOINT
//   writable:   tmpfs at WORK/scratch (no directory given), overlay at MOUNTPOINT over the lower, then scratch is unmounted
//               again: the overlay keeps what it needs (see overlay.ts)

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { escapeText } from '../byte-string.js'
import type { ErofsInode } from '../erofs/reader.js'
import { OcimountError } from '../errors.js'
import { bindMount } from './bind-mount.js'
import type { MountFlags } from './driver.js'
import { mountAt, readMountinfo, type MountEntry } from './mountinfo.js'
import { mountOverlay } from './overlay.js'
import { runTool } from './run-tool.js'
import { detach } from './unmount.js'

/** A mounted image. */
export interface LowerPlace {
  readonly path: string
  /** Its root directory, whose owner, mode and time an overlay's upper gets. */
  readonly rootInode: ErofsInode
}

export interface StackRequest {
  /** Canonical; checked by `checkMountpoint`. */
  readonly mountpoint: string
  /** False for a bind mount; true for an overlay whose contents vanish with it; else the directory that keeps them. */
  readonly writable: boolean | string
  /** An existing directory of ours, for what is needed while mounting. */
  readonly work: string
  readonly flags: MountFlags
}

/**
 * Mounts the image of `lower` once more. A failure leaves nothing behind.
 *
 * @throws OcimountError `MOUNT_DENIED`, `MOUNT_BUSY`, `MOUNT_FAILED`
 */
export async function stackOn(lower: LowerPlace, request: StackRequest): Promise<MountEntry> {
  const { mountpoint, writable, work, flags } = request
  if (writable === false) return bindMount({ source: lower.path, mountpoint, flags })
  const scratch = join(work, 'scratch')
  try {
    const directory = typeof writable === 'string' ? writable : await mountScratch(scratch)
    const entry = await mountOverlay({
      lower: lower.path,
      directory,
      mountpoint,
      rootInode: lower.rootInode,
      flags: [
        flags.suid ? 'suid' : 'nosuid',
        flags.dev ? 'dev' : 'nodev',
        ...(flags.noexec ? ['noexec'] : []),
      ],
    })
    try {
      await unmountIfMounted(scratch)
    } catch (error) {
      await detach(mountpoint, true)
      throw error
    }
    return entry
  } catch (error) {
    await unmountIfMounted(scratch)
    throw error
  }
}

/** Detaches whatever is mounted at a path of ours. */
export async function unmountIfMounted(path: string): Promise<void> {
  if (mountAt(await readMountinfo(), path) !== undefined) await detach(path, true)
}

/** A tmpfs of its own: the directory for run-time state is small, and may be on a filesystem that no overlay takes. */
async function mountScratch(scratch: string): Promise<string> {
  await mkdir(scratch, { mode: 0o700 })
  const args = ['-t', 'tmpfs', '-o', 'mode=0700,nodev', '--', 'ocimount', scratch]
  const result = await runTool('mount', args)
  if (result.status === 0) return scratch
  throw new OcimountError(
    'MOUNT_FAILED',
    `Cannot make the mount writable: ${escapeText(result.message)}`,
  )
}
