// `ocimount umount MOUNTPOINT`

import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { escapeText } from '../byte-string.js'
import { setTimeout as sleep } from 'node:timers/promises'
import { isOcimountError, OcimountError } from '../errors.js'
import { requestUnmount, type UnmountOutcome } from '../mount/control.js'
import { findMount, forgetMount, type FoundMount } from '../mount/list-mounts.js'
import { isOurMount, mountAt, readMountinfo } from '../mount/mountinfo.js'
import { locateMountpoint } from '../mount/mountpoint.js'
import { removeBundle } from '../mount/tear-down.js'
import { unmountPath } from '../mount/unmount.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { printJson, printNote } from './output.js'

const POLL_MS = 10
/** A server that was told to end and has not after this time is busy with something that does not concern the caller. */
const SERVER_END_MS = 5000
/** After this time whoever waits is told for whom. */
const SILENCE_MS = 2000

/** Unmounts; when it returns the mount point is free and, unless lazily, the serving process, if any, has ended. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const wasOurs =
    (await isOursAt(args.mountpoint)) || (await isOursAt(join(args.mountpoint, 'rootfs')))
  const found = await findMount(args.mountpoint)
  const outcome = await unmount(args, found, wasOurs)
  if (found !== undefined && isUnserved(found)) await forgetMount(found)
  else if (found !== undefined && !args.lazy) await waitForEnd(found, outcome)
  if (args.purge) await purge(args.mountpoint, found)
  if (args.json)
    printJson({ mountpoint: found?.record.mountpoint ?? args.mountpoint, lazy: args.lazy })
  return EXIT.done
}

async function unmount(
  { mountpoint, lazy, purge: isPurge, quiet }: CommandArguments,
  found: FoundMount | undefined,
  wasOurs: boolean,
): Promise<UnmountOutcome> {
  if (found !== undefined && !isUnserved(found)) {
    const { pid } = found.record
    const telling = setTimeout(() => {
      if (quiet || lazy) return
      printNote(
        `ocimount: waiting for the serving process ${pid ?? '?'}, which has not answered yet; ocimount umount -l detaches without it`,
      )
    }, SILENCE_MS)
    try {
      return await requestUnmount(found.directory, { lazy })
    } catch (error) {
      // Nobody answers: the process is stuck or just going. The kernel can be asked without it.
      if (!isOcimountError(error, 'NOT_MOUNTED')) throw error
    } finally {
      clearTimeout(telling)
    }
  }
  try {
    await unmountPath(found?.record.mountpoint ?? mountpoint, { lazy })
  } catch (error) {
    // Looking for the mount cleaned up after a dead server, which is what was asked for; a direct mount that was found wrong
    // is detached already; and a bundle can be purged unmounted.
    const isDone = wasOurs || isPurge || found?.record.verification === 'failed'
    if (!(isDone && isOcimountError(error, 'NOT_MOUNTED'))) throw error
  }
  return { endsServer: false }
}

/** Removes a bundle. Without a live mount it is what the user names, and has to look like one. */
async function purge(named: string, found: FoundMount | undefined): Promise<void> {
  const directory = found?.record.bundle?.directory ?? resolve(named)
  const isBundle = ['config.json', 'rootfs'].every((name) => existsSync(join(directory, name)))
  if (found?.record.bundle === undefined && !isBundle) {
    throw new OcimountError('USAGE', `Cannot purge ${escapeText(named)}: it is no bundle`)
  }
  await removeBundle(directory)
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

// The server removes its directories as the last thing it does; one that others need stays.
async function waitForEnd(
  { directory, record }: FoundMount,
  { endsServer }: UnmountOutcome,
): Promise<void> {
  const lower = join(directory, '..', record.lower ?? record.id)
  const deadlineMs = Date.now() + SERVER_END_MS
  while ((existsSync(directory) || (endsServer && existsSync(lower))) && Date.now() < deadlineMs) {
    await sleep(POLL_MS)
  }
}
