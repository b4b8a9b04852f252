// Mounts an image that is mounted at one place at another one: as it is, or below a writable overlay.
//
//   read-only:  a bind mount of the lower at MOUNTPOINT
//   writable:   tmpfs at WORK/scratch (no directory given), overlay at MOUNTPOINT over the lower, then scratch is unmounted
//               again: the overlay keeps what it needs (see overlay.ts)
//
// With maps of ids the bind mount shifts owners; an overlay stands on such a one at WORK/shifted, which goes with scratch.

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { bindMount } from './bind-mount.js'
import type { MountFlags } from './driver.js'
import { hostIdOf, type IdMaps } from './id-maps.js'
import { mountAt, readMountinfo, type MountEntry } from './mountinfo.js'
import { mountOverlay, type RootInode } from './overlay.js'
import { plainMount } from './plain-mount.js'
import { detach } from './unmount.js'

/** A mounted image. */
export interface LowerPlace {
  readonly path: string
  /** Its root directory, whose owner, mode and time an overlay's upper gets. */
  readonly rootInode: RootInode
}

export interface StackRequest {
  /** Canonical; checked by `checkMountpoint`. */
  readonly mountpoint: string
  /** False for a bind mount; true for an overlay whose contents vanish with it; else the directory that keeps them. */
  readonly writable: boolean | string
  /** An existing directory of ours, for what is needed while mounting. */
  readonly work: string
  readonly flags: MountFlags
  /** Shifts the owners of files. */
  readonly idMaps?: IdMaps | undefined
}

/**
 * Mounts the image of `lower` once more. A failure leaves nothing behind.
 *
 * @throws OcimountError `MOUNT_DENIED`, `MOUNT_BUSY`, `MOUNT_FAILED`
 */
export async function stackOn(lower: LowerPlace, request: StackRequest): Promise<MountEntry> {
  const { mountpoint, writable, work, flags, idMaps } = request
  if (writable === false) return bindMount({ source: lower.path, mountpoint, flags, idMaps })
  const [scratch, shifted] = [join(work, 'scratch'), join(work, 'shifted')]
  try {
    const { path, rootInode } =
      idMaps === undefined ? lower : await mountShifted(lower, shifted, idMaps)
    const directory = typeof writable === 'string' ? writable : await mountScratch(scratch)
    const entry = await mountOverlay({ lower: path, directory, mountpoint, rootInode, flags })
    try {
      for (const place of [scratch, shifted]) await unmountIfMounted(place)
    } catch (error) {
      await detach(mountpoint, true)
      throw error
    }
    return entry
  } catch (error) {
    for (const place of [scratch, shifted]) await unmountIfMounted(place)
    throw error
  }
}

/** Mounts an image once more, as if its files had the owners that the maps give them. */
async function mountShifted(
  { path, rootInode }: LowerPlace,
  shifted: string,
  idMaps: IdMaps,
): Promise<LowerPlace> {
  await mkdir(shifted, { mode: 0o700 })
  // What may not count is for the flags of the overlay to say.
  const flags = { suid: true, dev: true }
  await bindMount({ source: path, mountpoint: shifted, flags, idMaps })
  // Who is nobody in the container cannot own its root directory: its root does.
  const owner = (id: number, map: IdMaps['uids']): number =>
    hostIdOf(id, map) ?? hostIdOf(0, map) ?? 0
  const uid = owner(rootInode.uid, idMaps.uids)
  const gid = owner(rootInode.gid, idMaps.gids)
  return { path: shifted, rootInode: { ...rootInode, uid, gid } }
}

/** Detaches whatever is mounted at a path of ours. */
export async function unmountIfMounted(path: string): Promise<void> {
  if (mountAt(await readMountinfo(), path) !== undefined) await detach(path, true)
}

/** A tmpfs of its own: the directory for run-time state is small, and may be on a filesystem that no overlay takes. */
async function mountScratch(scratch: string): Promise<string> {
  await mkdir(scratch, { mode: 0o700 })
  const why = await plainMount({
    ...{ type: 'tmpfs', source: 'ocimount', mountpoint: scratch, options: ['mode=0700'] },
    flags: { suid: true },
  })
  if (why === undefined) return scratch
  throw new OcimountError('MOUNT_FAILED', `Cannot make the mount writable: ${escapeText(why)}`)
}
