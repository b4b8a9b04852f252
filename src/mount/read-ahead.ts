import { writeFile } from 'node:fs/promises'
import { messageOf } from '../errors.js'
import { log } from '../logger.js'

/** Eight requests of libfuse's 128 KiB, or one of the addon's server. */
export const READ_AHEAD_KIB = 1024

/** Lets the kernel read further ahead in a filesystem. Only root may; without it reading in order is slower. */
export async function widenReadAhead(device: string): Promise<void> {
  try {
    await writeFile(`/sys/class/bdi/${device}/read_ahead_kb`, String(READ_AHEAD_KIB))
  } catch (error) {
    log.debug({ error: messageOf(error) }, 'Read-ahead stays at its default')
  }
}
