// Detaches mounts. Root calls umount(8), everybody else fusermount3(1), which is setuid and lets a user
// unmount what that user mounted.

import { escapeText } from '../byte-string.js'
import { OcimountError, type ErrorCode } from '../errors.js'
import { isOurMount, mountAt, readMountinfo, type MountEntry } from './mountinfo.js'
import { locateMountpoint } from './mountpoint.js'
import { runTool, type ToolResult } from './run-tool.js'

/**
 * Unmounts the ocimount filesystem or overlay at a path; a mount of anybody else is left alone.
 *
 * With `lazy` it vanishes from the tree at once and from the kernel when its last file is closed. Also works for
 * a mount whose server is dead.
 *
 * @throws OcimountError `NOT_MOUNTED`, `MOUNT_BUSY`, `MOUNT_DENIED`, `MOUNT_FAILED`
 */
export async function unmountPath(
  mountpoint: string,
  options: { readonly lazy?: boolean } = {},
): Promise<void> {
  const entries = await readMountinfo()
  const path = await locateMountpoint(mountpoint, entries)
  const entry = path === undefined ? undefined : mountAt(entries, path)
  if (path === undefined || entry === undefined) {
    throw failed('NOT_MOUNTED', mountpoint, 'nothing is mounted there')
  }
  if (!isOurMount(entry)) {
    throw failed('NOT_MOUNTED', mountpoint, `what is mounted there (${entry.fsType}) is not ours`)
  }
  await detach(path, options.lazy ?? false)
}

/**
 * Unmounts `mount`, an entry of the table of mounts at a canonical path, and nothing else that is there by now.
 *
 * @throws OcimountError `NOT_MOUNTED`, `MOUNT_BUSY` also while another mount covers it, `MOUNT_DENIED`, `MOUNT_FAILED`
 */
export async function detachMount(mount: MountEntry, isLazy: boolean): Promise<void> {
  const entries = await readMountinfo()
  const path = mount.mountpoint
  const onTop = mountAt(entries, path)
  if (onTop === undefined || !isSameMount(onTop, mount)) {
    if (isMounted(mount, entries))
      throw failed('MOUNT_BUSY', path, 'something else is mounted on top of it')
    throw failed('NOT_MOUNTED', path, 'it is gone already')
  }
  await detach(path, isLazy)
}

/** Tells whether a mount is still in the table, covered by another one or not. */
export function isMounted(mount: MountEntry, entries: readonly MountEntry[]): boolean {
  return entries.some((entry) => isSameMount(entry, mount))
}

/**
 * Tells whether two entries, of two readings of the table, are one mount. The kernel gives the numbers of a dead mount to the
 * next one, the device's as well as its own.
 */
export function isSameMount(entry: MountEntry, mount: MountEntry): boolean {
  return (
    entry.mountId === mount.mountId &&
    entry.mountpoint === mount.mountpoint &&
    entry.device === mount.device &&
    entry.fsType === mount.fsType &&
    entry.source === mount.source
  )
}

/** Unmounts whatever is at a canonical path; for mounts that are known to be ours. */
export async function detach(path: string, isLazy: boolean): Promise<void> {
  const result = await runUnmount(path, isLazy)
  if (result.status === 0) return
  const { message } = result
  if (/busy/i.test(message)) {
    throw failed(
      'MOUNT_BUSY',
      path,
      'it is in use; end the programs that use it, or detach it with --lazy',
    )
  }
  if (/not mounted|not found|no mount point|no such/i.test(message)) {
    throw failed('NOT_MOUNTED', path, message)
  }
  if (/permitted|permission|denied|superuser|must be root|only root/i.test(message)) {
    throw failed('MOUNT_DENIED', path, message)
  }
  throw failed('MOUNT_FAILED', path, message)
}

async function runUnmount(path: string, isLazy: boolean): Promise<ToolResult> {
  if (process.geteuid?.() === 0) return runTool('umount', [...(isLazy ? ['-l'] : []), '--', path])
  const args = ['-u', ...(isLazy ? ['-z'] : []), '--', path]
  const result = await runTool('fusermount3', args)
  // libfuse 2 alone brings the tool under its old name.
  return result.isInstalled ? result : runTool('fusermount', args)
}

function failed(code: ErrorCode, path: string, why: string): OcimountError {
  return new OcimountError(code, `Cannot unmount ${escapeText(path)}: ${escapeText(why)}`)
}
