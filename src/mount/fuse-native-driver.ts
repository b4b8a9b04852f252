// The portable driver: TypeScript callbacks over libfuse 2, through the npm package `fuse-native`. The only
// importer of that package.
//
//   open ──INIT from the kernel──▶ mounted ──the superblock dies──▶ finished
//     └── fails: whatever was mounted is detached again

import { createRequire } from 'node:module'
import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError } from '../errors.js'
import { log } from '../logger.js'
import type { LiveMount, MountDriver, MountFlags, MountTarget } from './driver.js'
import { FaultLog } from './fault-log.js'
import type { FuseBase, FuseClass } from './fuse-native-types.js'
import { createServer } from './fuse-native-server.js'
import { listLimits } from './fuse-native-limits.js'
import { FUSE_TYPE, mountAt, readMountinfo, type MountEntry } from './mountinfo.js'
import { checkFuseAccess } from './fuse-access.js'
import { RootfsOperations } from './operations.js'
import { widenReadAhead } from './read-ahead.js'
import { watchSession, type Session } from './session.js'
import { detach, detachMount } from './unmount.js'
import { isInitialUserNamespace } from './user-namespace.js'

// libfuse computes with doubles and the kernel with jiffies; some thirty years fit both.
const FOR_EVER_SECONDS = 1_000_000_000
const MAX_FS_NAME = 200

/** Serves an image through `fuse-native`. Known limits: DESIGN section 8. */
export const fuseNativeDriver: MountDriver = {
  name: 'fuse-native',

  async prepare(flags) {
    const Fuse = loadFuse()
    await checkFuseAccess(flags)
    const allowOther = flags.allowOther ?? process.geteuid?.() === 0
    return (target, mountpoint) =>
      start(Fuse, target, { mountpoint, flags: { ...flags, allowOther } })
  },
}

async function start(
  Fuse: FuseClass,
  target: MountTarget,
  { mountpoint, flags }: { readonly mountpoint: string; readonly flags: MountFlags },
): Promise<LiveMount> {
  const operations = new RootfsOperations(target, { listsTrusted: await isInitialUserNamespace() })
  const server = createServer(
    Fuse,
    { mountpoint, optionString: optionString(flags) },
    { operations, faults: new FaultLog() },
  )
  let entry: MountEntry
  let session: Session
  try {
    await open(server)
    entry = await findOwnMount(mountpoint)
    await widenReadAhead(entry.device)
    session = await watchSession(mountpoint, entry.device)
  } catch (error) {
    await detachFailed(mountpoint)
    throw new OcimountError(
      'MOUNT_FAILED',
      `Cannot mount at ${escapeText(mountpoint)}: libfuse could not (${escapeText(messageOf(error))}); what it wrote to standard error or the kernel's log says more, and a container may forbid it (AppArmor, seccomp)`,
      { cause: error },
    )
  }
  return {
    mountpoint,
    device: entry.device,
    isDirect: false,
    finished: session.ended.then(() => {
      release(Fuse, server)
    }),
    unmount: async ({ lazy = false } = {}) => detachMount(entry, lazy),
    listLimits: async () => listLimits(target.image),
  }
}

function loadFuse(): FuseClass {
  try {
    return createRequire(import.meta.url)('fuse-native') as FuseClass
  } catch (error) {
    const why = messageOf(error).split('\n')[0] ?? ''
    throw new OcimountError(
      'DRIVER_UNAVAILABLE',
      `Cannot use the driver fuse-native: ${escapeText(why)}; it needs the npm package fuse-native and the library libfuse.so.2 (Debian: libfuse2, Fedora: fuse-libs, Alpine: fuse)`,
      { cause: error },
    )
  }
}

function optionString(flags: MountFlags): string {
  return [
    'ro',
    'use_ino',
    // As mount(8) has it, and the overlay of --writable: what is in the directory is hidden meanwhile.
    'nonempty',
    'kernel_cache',
    `entry_timeout=${FOR_EVER_SECONDS}`,
    `attr_timeout=${FOR_EVER_SECONDS}`,
    `negative_timeout=${FOR_EVER_SECONDS}`,
    // Without allow_other only the user that serves gets in, who can read the archive anyway: no file is hidden
    // from them. With it the kernel checks the modes, as on any filesystem.
    ...(flags.allowOther ? ['allow_other', 'default_permissions'] : []),
    flags.suid ? 'suid' : 'nosuid',
    flags.dev ? 'dev' : 'nodev',
    ...(flags.noexec ? ['noexec'] : []),
    `fsname=${plainName(flags.fsName ?? 'ocimount')}`,
    'subtype=ocimount',
  ].join(',')
}

/** Commas separate options and the whole string has 1024 bytes, so only harmless characters stay. */
function plainName(name: string): string {
  return name.replace(/[^\w./:@+=-]/g, '_').slice(0, MAX_FS_NAME) || 'ocimount'
}

async function open(server: FuseBase): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.open((error) => {
      if (error) reject(error)
      else resolve()
    })
  })
}

async function findOwnMount(mountpoint: string): Promise<MountEntry> {
  const entry = mountAt(await readMountinfo(), mountpoint)
  if (entry?.fsType === FUSE_TYPE) return entry
  throw new Error('the mount vanished at once')
}

/** fuse-native mounts first and reads the options then, so a failure can leave a mount. */
async function detachFailed(mountpoint: string): Promise<void> {
  const entry = mountAt(await readMountinfo(), mountpoint)
  if (entry?.fsType !== FUSE_TYPE) return
  await detach(mountpoint, true).catch((error: unknown) => {
    log.error({ mountpoint: escapeText(mountpoint) }, messageOf(error))
  })
}

/** Lets the event loop end. The package can do so only behind its own unmount, which runs a shell. */
function release(Fuse: FuseClass, server: FuseBase): void {
  const { unmount } = Fuse
  Fuse.unmount = (_mountpoint, callback) => {
    callback(null)
  }
  try {
    server.close((error) => {
      if (error) log.debug({ error: messageOf(error) }, 'fuse-native did not close')
    })
  } finally {
    Fuse.unmount = unmount
  }
}
