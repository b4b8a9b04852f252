// Takes away what stands on a mount, in the right order: the container, the mount, the bundle, the record.

import { rm } from 'node:fs/promises'
import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { log } from '../logger.js'
import { readMountinfo } from './mountinfo.js'
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

/**
 * Removes a bundle and what was written in it, unless something is still mounted there.
 *
 * @throws OcimountError `MOUNT_FAILED`
 */
export async function removeBundle(directory: string): Promise<void> {
  const entries = await readMountinfo()
  const inside = entries.find(({ mountpoint }) => mountpoint.startsWith(`${directory}/`))
  if (inside !== undefined) {
    throw new OcimountError(
      'MOUNT_FAILED',
      `Cannot remove ${escapeText(directory)}: ${escapeText(inside.mountpoint)} is still mounted`,
    )
  }
  await rm(directory, { recursive: true, force: true })
}
