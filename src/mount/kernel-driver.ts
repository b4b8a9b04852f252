// The driver `kernel`: the rootfs is the kernel's own EROFS mount. Its source and its devices are flat files of a FUSE
// superblock that is attached nowhere, and which the addon's server answers (DESIGN section 8):
//
//   /dev/fuse ──▶ server ──▶ fsmount of fuse, unattached ──O_PATH──▶ 0 (image), 1, 2 … (devices)
//                                                                        │ source=, device=
//                                                                        ▼
//                                                       fsmount of erofs ──move_mount──▶ mount point
//
// When the last copy of the EROFS mount goes, so does the FUSE superblock, and the server's read ends with ENODEV. This
// process must not open, stat or flush a file of that superblock: a kill would hang in the kernel.

import { mkdtemp, rm } from 'node:fs/promises'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError, systemErrorCode } from '../errors.js'
import type { FuseServer, NativeBindings } from '../native.js'
import type { LiveMount, MountDriver, MountFlags, MountTarget } from './driver.js'
import { checkFuseAccess } from './fuse-access.js'
import { EROFS_SOURCE, isOurMount, mountAt, readMountinfo } from './mountinfo.js'
import { liveMount, nativeFlags, requireNative, startServer } from './native-server.js'
import { READ_AHEAD_KIB } from './read-ahead.js'
import { detach } from './unmount.js'
import { isInitialUserNamespace } from './user-namespace.js'

/** The first kernel that mounts EROFS from plain files. */
const LEAST_KERNEL = [6, 12] as const
/** What the kernel answers when it cannot mount EROFS from files at all. */
const NOT_THIS_KERNEL = new Set(['ENODEV', 'ENOTBLK', 'ENOSYS', 'EOPNOTSUPP'])

/** Mounts the metadata image by the kernel's EROFS. */
export const kernelDriver: MountDriver = {
  name: 'kernel',

  async prepare(flags) {
    await checkKernel()
    const native = requireNative('kernel')
    await checkFuseAccess(flags)
    return (target, mountpoint) => start(native, target, { mountpoint, flags })
  },
}

async function checkKernel(): Promise<void> {
  if (process.geteuid?.() !== 0 || !(await isInitialUserNamespace())) {
    throw unavailable('it needs root in the initial user namespace')
  }
  const [major = 0, minor = 0] = release().split('.').map(Number)
  const [leastMajor, leastMinor] = LEAST_KERNEL
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return
  throw unavailable(`it needs Linux ${LEAST_KERNEL.join('.')}, this is ${escapeText(release())}`)
}

async function start(
  native: NativeBindings,
  { image, devices }: MountTarget,
  { mountpoint, flags }: { readonly mountpoint: string; readonly flags: MountFlags },
): Promise<LiveMount> {
  let server: FuseServer | undefined
  // EROFS shows the path that it was given as the source of the mount for as long as that lives; a link with a name of
  // ours is how the mount is known again.
  const links = await mkdtemp(join(flags.workDirectory ?? tmpdir(), 'ocimount-'))
  const sourceLink = join(links, `${EROFS_SOURCE}${plainName(flags.fsName ?? 'ocimount')}`)
  try {
    const fd = native.openFuseDevice()
    server = startServer(
      native,
      { fd, kind: 'flat', metadata: undefined, checksAccess: false },
      { first: { kind: 'memory', size: image.size, bytes: image.bytes }, devices },
    )
    await native.mountErofs({
      fuseFd: fd,
      deviceCount: devices.length,
      readAheadKib: READ_AHEAD_KIB,
      mountpoint,
      sourceLink,
      flags: nativeFlags(flags),
    })
    const entry = mountAt(await readMountinfo(), mountpoint)
    if (entry === undefined || !isOurMount(entry)) throw new Error('the mount vanished at once')
    return liveMount(entry, server)
  } catch (error) {
    await detachIfOurs(mountpoint)
    server?.stop()
    await server?.ended
    throw explain(error, mountpoint)
  } finally {
    await rm(links, { recursive: true, force: true })
  }
}

async function detachIfOurs(mountpoint: string): Promise<void> {
  const entry = mountAt(await readMountinfo(), mountpoint)
  if (entry !== undefined && isOurMount(entry))
    await detach(mountpoint, true).catch(() => undefined)
}

function explain(error: unknown, mountpoint: string): OcimountError {
  if (error instanceof OcimountError) return error
  const why = escapeText(messageOf(error))
  if (NOT_THIS_KERNEL.has(systemErrorCode(error) ?? '')) return unavailable(why, error)
  const message = `Cannot mount at ${escapeText(mountpoint)}: ${why}`
  return new OcimountError('MOUNT_FAILED', message, { cause: error })
}

function unavailable(why: string, cause?: unknown): OcimountError {
  const options = cause === undefined ? {} : { cause }
  return new OcimountError('DRIVER_UNAVAILABLE', `Cannot use the driver kernel: ${why}`, options)
}

/** One part of a path, of harmless characters. */
function plainName(name: string): string {
  return name.replace(/[^\w.:@+=-]/g, '_').slice(-100)
}
