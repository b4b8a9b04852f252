// Takes away what stands on a mount, in the right order: the container, the mount, the bundle, the record.

import { rm, stat } from 'node:fs/promises'
import { escapeText } from '../byte-string.js'
import { OcimountError, systemErrorCode } from '../errors.js'
import { log } from '../logger.js'
import type { UnfinishedBundle } from './lower-record.js'
import { readMountinfo, type MountEntry } from './mountinfo.js'
import { runTool } from './run-tool.js'
import type { ContainerRecord, MountRecord } from './state.js'

/**
 * Ends a mount that nobody uses any more, and all that came with it.
 *
 * @param detach takes the mount itself away, if it is there
 * @throws OcimountError what `detach` throws, `MOUNT_FAILED` when something is still mounted in a bundle to be removed
 */
export async function tearDown(
  record: MountRecord,
  directory: string,
  detach: () => Promise<void>,
): Promise<void> {
  if (record.container !== undefined) await deleteContainer(record.container)
  await detach()
  if (record.bundle?.isPrivate === true) await removeBundle(record.bundle.directory)
  await rm(directory, { recursive: true, force: true })
}

/** Kills a container that still runs, and has the runtime forget it; one that it does not know is what is wanted. */
export async function deleteContainer({ id, runtime }: ContainerRecord): Promise<void> {
  const [program = '', ...first] = runtime
  const { status, message } = await runTool(program, [...first, 'delete', '--force', id])
  if (status !== 0) log.info({ id }, `The runtime did not delete the container: ${message}`)
}

/** Removes what a process that died while it made a bundle left of it. One with a mount in it is finished, and another's. */
export async function removeUnfinished({
  directory,
  fresh,
  inode,
}: UnfinishedBundle): Promise<void> {
  await rm(fresh, { recursive: true, force: true })
  if (inode === undefined || (await inodeOf(directory)) !== inode) return
  if ((await findMountIn(directory)) === undefined) {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Names the inode at a path, whose number alone would be given to another one; undefined where there is none. */
export async function inodeOf(path: string): Promise<string | undefined> {
  try {
    const { dev, ino, birthtimeNs } = await stat(path, { bigint: true })
    return `${dev}:${ino}:${birthtimeNs}`
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    return undefined
  }
}

async function findMountIn(directory: string): Promise<MountEntry | undefined> {
  const entries = await readMountinfo()
  return entries.find(({ mountpoint }) => mountpoint.startsWith(`${directory}/`))
}

/**
 * Removes a bundle and what was written in it, unless something is still mounted there.
 *
 * @throws OcimountError `MOUNT_FAILED`
 */
export async function removeBundle(directory: string): Promise<void> {
  const inside = await findMountIn(directory)
  if (inside !== undefined) {
    throw new OcimountError(
      'MOUNT_FAILED',
      `Cannot remove ${escapeText(directory)}: ${escapeText(inside.mountpoint)} is still mounted`,
    )
  }
  await rm(directory, { recursive: true, force: true })
}
