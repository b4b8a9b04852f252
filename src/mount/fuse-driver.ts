// The driver `fuse`: the addon's server answers the kernel from the EROFS image, in threads of its own. Mounted by
// mount(2) where this process may, else by fusermount3, which opens the device and hands it back over a socket.

import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError } from '../errors.js'
import type { FuseServer, NativeBindings } from '../native.js'
import type { LiveMount, MountDriver, MountFlags, MountTarget } from './driver.js'
import { checkFuseAccess } from './fuse-access.js'
import { FUSE_TYPE, mountAt, readMountinfo } from './mountinfo.js'
import { liveMount, nativeFlags, requireNative, startServer } from './native-server.js'
import { widenReadAhead } from './read-ahead.js'
import { detach } from './unmount.js'

/** Serves an image through the addon's FUSE server. */
export const fuseDriver: MountDriver = {
  name: 'fuse',

  async prepare(flags) {
    const native = requireNative('fuse')
    await checkFuseAccess(flags)
    const allowOther = flags.allowOther ?? process.geteuid?.() === 0
    return (target, mountpoint) =>
      start(native, target, { mountpoint, flags: { ...flags, allowOther } })
  },
}

async function start(
  native: NativeBindings,
  target: MountTarget,
  { mountpoint, flags }: { readonly mountpoint: string; readonly flags: MountFlags },
): Promise<LiveMount> {
  let server: FuseServer | undefined
  let isMounted = false
  try {
    const isRoot = process.geteuid?.() === 0
    const options = {
      mountpoint,
      fsName: flags.fsName ?? 'ocimount',
      allowOther: flags.allowOther ?? false,
      flags: nativeFlags(flags),
    }
    const fd = isRoot ? native.openFuseDevice() : await native.fusermount(options)
    isMounted = !isRoot
    server = startServer(
      native,
      { fd, kind: 'erofs', metadata: target.image.bytes, checksAccess: flags.allowOther !== true },
      { devices: target.devices },
    )
    if (isRoot) await native.mountFuse({ fuseFd: fd, ...options })
    isMounted = true
    const entry = mountAt(await readMountinfo(), mountpoint)
    if (entry?.fsType !== FUSE_TYPE) throw new Error('the mount vanished at once')
    await widenReadAhead(entry.device)
    return liveMount(entry, server)
  } catch (error) {
    if (isMounted) await detach(mountpoint, true).catch(() => undefined)
    server?.stop()
    await server?.ended
    if (error instanceof OcimountError) throw error
    throw new OcimountError(
      'MOUNT_FAILED',
      `Cannot mount at ${escapeText(mountpoint)}: ${escapeText(messageOf(error))}`,
      { cause: error },
    )
  }
}
