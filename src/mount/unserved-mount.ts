// A mount that nobody serves. There is no connection whose end would tell that it is gone, so the table of mounts is asked.

import type { LiveMount } from './driver.js'
import { readMountinfo, type MountEntry } from './mountinfo.js'
import { detachMount, isSameMount } from './unmount.js'

const POLL_MS = 1000

/** What a driver gives back for such a mount. Watching it does not keep the process alive. */
export function unservedMount(entry: MountEntry): LiveMount {
  const gone = watchTable(entry)
  return {
    mountpoint: entry.mountpoint,
    device: entry.device,
    isDirect: true,
    finished: gone.ended,
    unmount: async ({ lazy = false } = {}) => {
      await detachMount(entry, lazy)
      await gone.look()
    },
    listLimits: () => Promise.resolve([]),
  }
}

/** Tells when a mount has left the table of mounts: at the latest a second afterwards, or when it is told to look. */
function watchTable(mount: MountEntry): {
  readonly ended: Promise<void>
  readonly look: () => Promise<void>
} {
  let end: () => void
  const ended = new Promise<void>((resolve) => (end = resolve))
  const look = async (): Promise<void> => {
    const entries = await readMountinfo()
    if (entries.some((entry) => isSameMount(entry, mount))) return
    clearInterval(timer)
    end()
  }
  // A table that cannot be read now is read a second later.
  const timer = setInterval(() => void look().catch(() => undefined), POLL_MS).unref()
  return { ended, look }
}
