// The driver `fuse`: the addon's server answers the kernel from the EROFS image, in threads of its own. Mounted by
// mount(2) where this process may, else by fusermount3, which opens the device and hands it back over a socket.

import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError } from '../errors.js'
import type { LiveMount, MountDriver, MountFlags, MountTarget } from './driver.js'
import { checkFuseAccess } from './fuse-access.js'
import { FUSE_TYPE, mountAt, readMountinfo } from './mountinfo.js'
import { checkDevices, requireNative, startServer } from './native-server.js'
import { widenReadAhead } from './read-ahead.js'
import { detach, detachMount } from './unmount.js'
import type { FuseServer, NativeBindings } from '../native.js'

/** Serves an image through the addon's FUSE server. */
export const fuseDriver: MountDriver = {
  name: 'fuse',

  async isAvailable() {
    try {
      requireNative('fuse')
      await checkFuseAccess({})
      return undefined
    } catch (error) {
      return messageOf(error)
    }
  },

  async mount(target, mountpoint, flags) {
    const native = requireNative('fuse')
    await checkFuseAccess(flags)
    checkDevices(target)
    const allowOther = flags.allowOther ?? process.geteuid?.() === 0
    return start(native, target, { mountpoint, flags: { ...flags, allowOther } })
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
    const fd = process.geteuid?.() === 0 ? native.openFuseDevice() : await askFusermount(native)
    isMounted = process.geteuid?.() !== 0
    server = startServer(
      native,
      { fd, kind: 'erofs', metadata: target.image.bytes, checksAccess: flags.allowOther !== true },
      { devices: target.devices },
    )
    if (!isMounted) await native.mountFuse({ fuseFd: fd, mountpoint, ...mountOptions(flags) })
    isMounted = true
    const entry = mountAt(await readMountinfo(), mountpoint)
    if (entry?.fsType !== FUSE_TYPE) throw new Error('the mount vanished at once')
    await widenReadAhead(entry.device)
    return {
      mountpoint,
      device: entry.device,
      finished: server.ended,
      unmount: async ({ lazy = false } = {}) => detachMount(entry, lazy),
      // The server shows whatever is in the image.
      listLimits: () => Promise.resolve([]),
    }
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

  function askFusermount(addon: NativeBindings): Promise<number> {
    return addon.fusermount({ mountpoint, ...mountOptions(flags) })
  }
}

function mountOptions({ allowOther = false, suid = false, dev = false, ...rest }: MountFlags): {
  readonly fsName: string
  readonly allowOther: boolean
  readonly flags: { readonly suid: boolean; readonly dev: boolean; readonly noexec: boolean }
} {
  const flags = { suid, dev, noexec: rest.noexec ?? false }
  return { fsName: rest.fsName ?? 'ocimount', allowOther, flags }
}
