// Where a mount may go. The checks come before anything is set up, since what libfuse says of a bad mount
// point is `fuse failed`.

import { constants, type Stats } from 'node:fs'
import { access, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError, systemErrorCode } from '../errors.js'
import { isOurMount, mountAt, readMountinfo, type MountEntry } from './mountinfo.js'

/** fuse-native keeps the path in an array of 1024 bytes. */
const MAX_PATH_BYTES = 1023

/**
 * Checks that something can be mounted at a path and gives the canonical one, symbolic links resolved. The directory
 * need not be empty.
 *
 * @throws OcimountError `MOUNTPOINT_INVALID`, `MOUNT_BUSY`, `MOUNT_DENIED`
 */
export async function checkMountpoint(mountpoint: string): Promise<string> {
  const entries = await readMountinfo()
  // Asked of the kernel's list first: a stat of a mount whose server is stuck would never come back.
  const mounted = mountAt(entries, resolve(mountpoint))
  if (mounted !== undefined) throw busy(mountpoint, mounted)
  const path = await canonical(mountpoint)
  const covered = mountAt(entries, path)
  if (covered !== undefined) throw busy(mountpoint, covered)
  let stats: Stats
  try {
    stats = await stat(path)
  } catch (error) {
    throw invalid(mountpoint, messageOf(error), error)
  }
  if (!stats.isDirectory()) throw invalid(mountpoint, 'it is not a directory')
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw invalid(mountpoint, `its path is longer than ${MAX_PATH_BYTES} bytes`)
  }
  if (process.geteuid?.() !== 0) await checkUserMayMount(mountpoint, path, stats)
  return path
}

/**
 * Finds the canonical path under which the kernel lists a mount point, or undefined where nothing is mounted.
 *
 * Goes through the mount itself only as a last resort, where the last part of the path is a symbolic link.
 */
export async function locateMountpoint(
  mountpoint: string,
  entries: readonly MountEntry[],
): Promise<string | undefined> {
  const plain = resolve(mountpoint)
  if (mountAt(entries, plain) !== undefined) return plain
  try {
    const viaParent = join(await realpath(dirname(plain)), basename(plain))
    if (mountAt(entries, viaParent) !== undefined) return viaParent
    const path = await realpath(plain)
    return mountAt(entries, path) === undefined ? undefined : path
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw invalid(mountpoint, messageOf(error), error)
  }
}

async function canonical(mountpoint: string): Promise<string> {
  if (mountpoint === '') throw invalid(mountpoint, 'the path is empty')
  let bytes: Buffer
  try {
    bytes = await realpath(mountpoint, { encoding: 'buffer' })
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') {
      throw invalid(mountpoint, 'it does not exist; create the directory first', error)
    }
    if (systemErrorCode(error) === 'ENOTDIR')
      throw invalid(mountpoint, 'it is not a directory', error)
    throw invalid(mountpoint, messageOf(error), error)
  }
  const path = bytes.toString('utf8')
  if (!Buffer.from(path).equals(bytes)) throw invalid(mountpoint, 'its path is not valid UTF-8')
  return path
}

/** What fusermount3 asks for, so that a filesystem cannot be put over somebody else's directory. */
async function checkUserMayMount(mountpoint: string, path: string, stats: Stats): Promise<void> {
  const isForeign = stats.uid !== process.geteuid?.()
  const isWritable = await access(path, constants.W_OK).then(
    () => true,
    () => false,
  )
  if (isWritable && !(isForeign && (stats.mode & 0o1000) !== 0)) return
  throw new OcimountError(
    'MOUNT_DENIED',
    `Cannot mount at ${escapeText(mountpoint)}: an ordinary user needs a directory of their own that they may write to`,
  )
}

function busy(mountpoint: string, entry: MountEntry): OcimountError {
  const shown = escapeText(mountpoint)
  let why = `it is already a mount point (${escapeText(entry.fsType)})`
  if (isOurMount(entry)) {
    const kind = entry.fsType === 'overlay' ? 'a writable image' : 'an image'
    why = `${kind} is already mounted there; unmount it with: ocimount umount ${shown}`
  }
  return new OcimountError('MOUNT_BUSY', `Cannot mount at ${shown}: ${why}`)
}

function invalid(mountpoint: string, why: string, cause?: unknown): OcimountError {
  const message = `Cannot mount at ${escapeText(mountpoint)}: ${escapeText(why)}`
  return new OcimountError('MOUNTPOINT_INVALID', message, cause === undefined ? {} : { cause })
}
