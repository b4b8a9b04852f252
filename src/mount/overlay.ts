// Stacks a writable overlay on a read-only mount: everything written goes to `upper`, the image stays as it is.
//
// The kernel clones the mounts of lower and upper for itself. So both can be unmounted as soon as the overlay
// stands: whatever ends the overlay then ends them too, in the right order, and nothing is left to clean up.

import { chmod, chown, mkdir, rmdir, stat, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { escapeText } from '../byte-string.js'
import type { ErofsInode } from '../erofs/reader.js'
import { messageOf, OcimountError, systemErrorCode, type ErrorCode } from '../errors.js'
import { log } from '../logger.js'
import type { MountFlags } from './driver.js'
import { mountAt, OVERLAY_SOURCE, readMountinfo, type MountEntry } from './mountinfo.js'
import { plainMount } from './plain-mount.js'
import { isInitialUserNamespace } from './user-namespace.js'

/** What there is to know of the root directory. */
export type RootInode = Pick<ErofsInode, 'uid' | 'gid' | 'mode' | 'mtimeSeconds'>

/** What an overlay is made of. */
export interface OverlayRequest {
  /** A mount point of the read-only filesystem. */
  readonly lower: string
  /** Holds `upper` and `work`, which are made where they are missing; not on a filesystem without xattrs. */
  readonly directory: string
  readonly mountpoint: string
  /** The image's root directory, whose owner, mode and time a new `upper` gets: they show at the mount point. */
  readonly rootInode: RootInode
  readonly flags: MountFlags
}

/**
 * Checks that this process may stack an overlay.
 *
 * @throws OcimountError `MOUNT_DENIED`
 */
export function checkOverlayAccess(): void {
  if (process.geteuid?.() === 0) return
  throw new OcimountError(
    'MOUNT_DENIED',
    'Cannot make the mount writable: only root may stack an overlay; run it as root, or as root of a user namespace of your own: unshare -rm ocimount …',
  )
}

/**
 * Mounts the overlay and gives its entry in the table of mounts.
 *
 * @throws OcimountError `MOUNT_DENIED`, `MOUNT_BUSY` when another overlay writes to the same directory,
 *   `MOUNT_FAILED`
 */
export async function mountOverlay(request: OverlayRequest): Promise<MountEntry> {
  const { lower, directory, mountpoint, flags } = request
  const upper = join(directory, 'upper')
  const work = join(directory, 'work')
  await prepare(request, { upper, work })
  const options = [
    `lowerdir=${escapeOverlayPath(lower)}`,
    `upperdir=${escapeOverlayPath(upper)}`,
    `workdir=${escapeOverlayPath(work)}`,
    // Outside the initial user namespace the kernel lets nobody set trusted.* attributes.
    ...((await isInitialUserNamespace()) ? [] : ['userxattr']),
  ]
  const what = { type: 'overlay', source: OVERLAY_SOURCE, mountpoint, options, flags } as const
  const why = await plainMount(what)
  if (why !== undefined) {
    const isDenied = /permission|permitted|superuser/i.test(why)
    throw failed(isDenied ? 'MOUNT_DENIED' : 'MOUNT_FAILED', request, why + hintFor(why, directory))
  }
  const entry = mountAt(await readMountinfo(), mountpoint)
  if (entry?.fsType === 'overlay') return entry
  throw failed('MOUNT_FAILED', request, 'the overlay vanished at once')
}

/** The kernel answers with an errno, and says in its log alone what it means. */
function hintFor(why: string, directory: string): string {
  if (/invalid argument|wrong fs type/i.test(why))
    return `; ${directory} may be on a filesystem that no overlay writes to, such as another overlay`
  if (/argument list too long/i.test(why)) return `; the path of ${directory} is too long`
  return ''
}

/** Escapes a path for the options of an overlay: commas end an option, colons separate lower directories. */
export function escapeOverlayPath(path: string): string {
  return path.replace(/[\\,:]/g, '\\$&')
}

async function prepare(
  request: OverlayRequest,
  { upper, work }: { readonly upper: string; readonly work: string },
): Promise<void> {
  const { rootInode } = request
  try {
    await refuseSharedUpper(request, upper)
    await makeDirectories(request.directory)
    const isNew = await makeDirectory(upper)
    await makeDirectory(work)
    if (!isNew) return
    try {
      await chownIfMapped(upper, rootInode)
      await chmod(upper, rootInode.mode & 0o7777)
      await utimes(upper, rootInode.mtimeSeconds, rootInode.mtimeSeconds)
    } catch (error) {
      // Left as it is, the next mount would take it for complete.
      await rmdir(upper)
      throw error
    }
  } catch (error) {
    if (error instanceof OcimountError) throw error
    const isDenied = ['EACCES', 'EPERM'].includes(systemErrorCode(error) ?? '')
    throw failed(isDenied ? 'MOUNT_DENIED' : 'MOUNT_FAILED', request, messageOf(error), error)
  }
}

/** A user namespace need not know the owner; the root directory then stays that of the namespace's root. */
async function chownIfMapped(upper: string, { uid, gid }: RootInode): Promise<void> {
  try {
    await chown(upper, uid, gid)
  } catch (error) {
    if (systemErrorCode(error) !== 'EINVAL') throw error
    log.warn({ uid, gid }, 'The owner of the root directory has no id in this user namespace')
  }
}

/** Not mkdir's own `recursive`, which never returns for a path such as /proc/none (Node.js 20). */
async function makeDirectories(path: string): Promise<void> {
  try {
    await makeDirectory(path)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT' || dirname(path) === path) throw error
    await makeDirectories(dirname(path))
    await makeDirectory(path)
  }
}

/** Tells whether it was missing. */
async function makeDirectory(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 })
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return false
    throw error
  }
}

/** Two overlays that write to one directory corrupt each other, and the kernel only warns. */
async function refuseSharedUpper(request: OverlayRequest, upper: string): Promise<void> {
  const wanted = await identity(upper)
  if (wanted === undefined) return
  for (const { fsType, superOptions, mountpoint } of await readMountinfo()) {
    if (fsType !== 'overlay') continue
    const other = /(?:^|,)upperdir=((?:[^,\\]|\\.)*)/.exec(superOptions)?.[1]
    // Somebody's relative path says nothing without their working directory.
    if (!other?.startsWith('/')) continue
    if ((await identity(other.replace(/\\(.)/g, '$1'))) !== wanted) continue
    throw failed('MOUNT_BUSY', request, `the overlay at ${mountpoint} writes to the same directory`)
  }
}

async function identity(path: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(path)
    return `${dev}:${ino}`
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return undefined
  }
}

function failed(
  code: ErrorCode,
  request: OverlayRequest,
  why: string,
  cause?: unknown,
): OcimountError {
  const message = `Cannot stack a writable overlay at ${escapeText(request.mountpoint)}: ${escapeText(why)}`
  return new OcimountError(code, message, cause === undefined ? {} : { cause })
}
