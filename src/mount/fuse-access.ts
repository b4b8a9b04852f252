// Whether this process may mount with FUSE. Asked before the attempt, since libfuse answers only `fuse failed` and
// writes what it knows to standard error.

import { constants } from 'node:fs'
import { access, readFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { messageOf, OcimountError, systemErrorCode } from '../errors.js'
import type { MountFlags } from './driver.js'

const DEVICE = '/dev/fuse'
const FUSE_CONF = '/etc/fuse.conf'
/** capabilities(7) */
const CAP_SYS_ADMIN = 21n

/**
 * Checks that a mount with these flags can work.
 *
 * @throws OcimountError `DRIVER_UNAVAILABLE`, `MOUNT_DENIED`; the message names the remedy
 */
export async function checkFuseAccess(flags: MountFlags): Promise<void> {
  await checkDevice()
  if (process.geteuid?.() === 0) await checkCapability()
  else await checkUser(flags)
}

async function checkDevice(): Promise<void> {
  try {
    await access(DEVICE, constants.R_OK | constants.W_OK)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') {
      throw new OcimountError(
        'DRIVER_UNAVAILABLE',
        `Cannot use FUSE: ${DEVICE} does not exist; load the module (modprobe fuse), or start the container with --device ${DEVICE} --cap-add SYS_ADMIN`,
        { cause: error },
      )
    }
    throw denied(
      `Cannot use FUSE: this user may not open ${DEVICE}; root can allow it with: chmod 666 ${DEVICE}`,
      error,
    )
  }
}

async function checkCapability(): Promise<void> {
  const status = await readFile('/proc/self/status', 'latin1')
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
  if (((effective >> CAP_SYS_ADMIN) & 1n) === 1n) return
  throw denied(
    'Cannot mount: root lacks the capability CAP_SYS_ADMIN here; start the container with --cap-add SYS_ADMIN, or use a user namespace of your own: unshare -rm ocimount …',
  )
}

async function checkUser({ allowOther, suid, dev }: MountFlags): Promise<void> {
  // fusermount3 would drop these two with no more than a line on standard error.
  if (suid) throw denied('Cannot mount with --suid: only root may')
  if (dev) throw denied('Cannot mount with --dev: only root may')
  try {
    userInfo()
  } catch (error) {
    // fusermount3 says `could not determine username`, and libfuse nothing.
    throw denied(
      `Cannot mount as user ${process.geteuid?.() ?? 0}: fusermount3 needs an entry for the user in /etc/passwd`,
      error,
    )
  }
  if (allowOther && !(await isAllowOtherPermitted())) {
    throw denied(
      `Cannot mount with --allow-other: root must add the line user_allow_other to ${FUSE_CONF} first`,
    )
  }
}

async function isAllowOtherPermitted(): Promise<boolean> {
  try {
    const text = await readFile(FUSE_CONF, 'utf8')
    return text.split('\n').some((line) => line.trim() === 'user_allow_other')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw denied(`Cannot mount with --allow-other: ${messageOf(error)}`, error)
  }
}

function denied(message: string, cause?: unknown): OcimountError {
  return new OcimountError('MOUNT_DENIED', message, cause === undefined ? {} : { cause })
}
