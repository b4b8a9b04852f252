// Lets an ordinary user run containers: the command is started again as root of a user namespace of its own, with mounts of
// its own. The mount, its overlay and the runtime are all in there; nothing of it is root on the host.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { fileURLToPath } from 'node:url'
import { findProgram } from '../bundle/runtime.js'
import { cacheRoot } from '../cache/cache-root.js'
import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError } from '../errors.js'
import { containersDirectory, openRuntimeDir } from '../mount/runtime-dir.js'
import { runTool } from '../mount/run-tool.js'
import { loadNative } from '../native.js'
import { dirname } from 'node:path'

/**
 * Becomes this command as root of a new user namespace; does not come back, except by ending this process with the
 * status of that one.
 *
 * @throws OcimountError `MOUNT_DENIED` where that is not possible, with the remedy
 */
export async function enterUserNamespace(args: readonly string[]): Promise<void> {
  const unshare = await findProgram('unshare')
  if (unshare === undefined) throw denied('unshare(1) of util-linux is not installed')
  // What is unmounted outside goes from the copies inside as well: a container is no reason for a disk to stay busy.
  const propagation = ['--propagation', 'slave']
  const options = ['--user', '--mount', ...propagation, '--map-root-user', ...(await moreIds())]
  // Tried first, since what unshare(1) says is no line of ours.
  const trial = await runTool(unshare, [...options, 'true'])
  if (trial.status !== 0) {
    throw denied(
      `${trial.message}; root can allow user namespaces with: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000`,
    )
  }
  const script = fileURLToPath(new URL('./main.js', import.meta.url))
  // Node.js would take --env-file for its own.
  const command = [unshare, ...options, '--', process.execPath, '--', script, ...args]
  // As root of the namespace the defaults would be those of the host's root.
  const environment = {
    ...process.env,
    OCIMOUNT_CACHE_DIR: cacheRoot(undefined),
    OCIMOUNT_RUNTIME_DIR: await openRuntimeDir(),
    OCIMOUNT_DATA_DIR: dirname(await containersDirectory()),
  }
  const native = loadNative()
  if (native !== undefined) {
    const pairs = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
    native.execve(unshare, command, pairs)
  }
  const child = spawn(unshare, command.slice(1), { stdio: 'inherit', env: environment })
  const [code] = (await once(child, 'exit')) as [number | null]
  process.exit(code ?? 125)
}

/** Further ids of the user, where newuidmap may give them; else there is root alone. */
async function moreIds(): Promise<string[]> {
  try {
    const { username, uid } = userInfo()
    const ranges = await readFile('/etc/subuid', 'utf8')
    const hasRange = ranges.split('\n').some((line) => {
      const name = line.split(':')[0]
      return name === username || name === String(uid)
    })
    return hasRange && (await findProgram('newuidmap')) !== undefined ? ['--map-auto'] : []
  } catch {
    return []
  }
}

function denied(why: unknown): OcimountError {
  return new OcimountError(
    'MOUNT_DENIED',
    `Cannot run a container as an ordinary user: ${escapeText(messageOf(why))}`,
  )
}
