// `ocimount umount MOUNTPOINT`

import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isOcimountError } from '../errors.js'
import { requestUnmount } from '../mount/control.js'
import { findMount, forgetMount, type FoundMount } from '../mount/list-mounts.js'
import { isOurMount, mountAt, readMountinfo } from '../mount/mountinfo.js'
import { locateMountpoint } from '../mount/mountpoint.js'
import { unmountPath } from '../mount/unmount.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { printJson } from './output.js'

const POLL_MS = 10
/** A server that was told to end and has not after this time is busy with something that does not concern the caller. */
const SERVER_END_MS = 5000

/** Unmounts; when it returns the mount point is free and, unless lazily, the serving process, if any, has ended. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const wasOurs = await isOursAt(args.mountpoint)
  const found = await findMount(args.mountpoint)
  await unmount(args, found, wasOurs)
  if (found !== undefined && isUnserved(found)) await forgetMount(found)
  else if (found !== undefined && !args.lazy) await waitForEnd(found)
  if (args.json)
    printJson({ mountpoint: found?.record.mountpoint ?? args.mountpoint, lazy: args.lazy })
  return EXIT.done
}

async function unmount(
  { mountpoint, lazy }: CommandArguments,
  found: FoundMount | undefined,
  wasOurs: boolean,
): Promise<void> {
  if (found !== undefined && !isUnserved(found)) {
    try {
      await requestUnmount(found.directory, { lazy })
      return
    } catch (error) {
      // Nobody answers: the process is stuck or just going. The kernel can be asked without it.
      if (!isOcimountError(error, 'NOT_MOUNTED')) throw error
    }
  }
  try {
    await unmountPath(found?.record.mountpoint ?? mountpoint, { lazy })
  } catch (error) {
    // Looking for the mount cleaned up after a dead server, which is what was asked for; and a direct mount that was found
    // wrong is detached already.
    const isDone = wasOurs || found?.record.verification === 'failed'
    if (!(isDone && isOcimountError(error, 'NOT_MOUNTED'))) throw error
  }
}

function isUnserved({ record }: FoundMount): boolean {
  return record.pid === null
}

async function isOursAt(mountpoint: string): Promise<boolean> {
  const entries = await readMountinfo()
  const path = await locateMountpoint(mountpoint, entries)
  const entry = path === undefined ? undefined : mountAt(entries, path)
  return entry !== undefined && isOurMount(entry)
}

// The server removes its directory as the last thing it does.
async function waitForEnd({ directory }: FoundMount): Promise<void> {
  const deadlineMs = Date.now() + SERVER_END_MS
  while (existsSync(directory) && Date.now() < deadlineMs) await sleep(POLL_MS)
}
