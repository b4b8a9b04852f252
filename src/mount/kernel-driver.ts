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
//
// With `direct` neither the FUSE superblock nor a server is needed: see direct-mount.ts.

import { release } from 'node:os'
import { escapeText } from '../byte-string.js'
import type { FuseServer, NativeBindings } from '../native.js'
import { attachErofs, explainMountError, kernelUnavailable } from './attach-erofs.js'
import { mountDirect } from './direct-mount.js'
import type { LiveMount, MountDriver, MountFlags, MountTarget } from './driver.js'
import { checkFuseAccess } from './fuse-access.js'
import { liveMount, requireNative, startServer } from './native-server.js'
import { READ_AHEAD_KIB } from './read-ahead.js'
import { isInitialUserNamespace } from './user-namespace.js'

/** The first kernel that mounts EROFS from plain files. */
const LEAST_KERNEL = [6, 12] as const

/** Mounts the metadata image by the kernel's EROFS. */
export const kernelDriver: MountDriver = {
  name: 'kernel',

  async prepare(flags) {
    await checkKernel()
    const native = requireNative('kernel')
    const { direct } = flags
    if (direct !== undefined) {
      return (target, mountpoint) =>
        mountDirect(target, mountpoint, { native, flags, place: direct })
    }
    await checkFuseAccess(flags)
    return (target, mountpoint) => mountServed(native, target, { mountpoint, flags })
  },
}

async function checkKernel(): Promise<void> {
  if (process.geteuid?.() !== 0 || !(await isInitialUserNamespace())) {
    throw kernelUnavailable('it needs root in the initial user namespace')
  }
  const [major = 0, minor = 0] = release().split('.').map(Number)
  const [leastMajor, leastMinor] = LEAST_KERNEL
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return
  throw kernelUnavailable(
    `it needs Linux ${LEAST_KERNEL.join('.')}, this is ${escapeText(release())}`,
  )
}

async function mountServed(
  native: NativeBindings,
  { image, devices }: MountTarget,
  { mountpoint, flags }: { readonly mountpoint: string; readonly flags: MountFlags },
): Promise<LiveMount> {
  let server: FuseServer | undefined
  try {
    const fd = native.openFuseDevice()
    server = startServer(
      native,
      { fd, kind: 'flat', metadata: undefined, checksAccess: false },
      { first: { kind: 'memory', size: image.size, bytes: image.bytes }, devices },
    )
    const files = { fuseFd: fd, deviceCount: devices.length, readAheadKib: READ_AHEAD_KIB }
    const entry = await attachErofs(mountpoint, flags, (place) =>
      native.mountErofs({ ...files, ...place }),
    )
    return liveMount(entry, server)
  } catch (error) {
    server?.stop()
    await server?.ended
    throw explainMountError(error, mountpoint)
  }
}
