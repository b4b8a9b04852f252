// Shows a mounted image at one more place.

import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError, systemErrorCode } from '../errors.js'
import { loadNative } from '../native.js'
import type { MountFlags } from './driver.js'
import { formatIdMap, type IdMaps } from './id-maps.js'
import { isOurMount, mountAt, readMountinfo, type MountEntry } from './mountinfo.js'
import { nativeFlags } from './native-server.js'
import { flagWords } from './plain-mount.js'
import { runTool } from './run-tool.js'

export interface BindRequest {
  /** A mount point of the image. */
  readonly source: string
  /** Canonical. */
  readonly mountpoint: string
  readonly flags: MountFlags
  /** Shifts the owners of files. */
  readonly idMaps?: IdMaps | undefined
}

/** What mount_setattr(2) was to do when it failed; see native-bindings/src/bind_mount.cc. */
const SHIFTING = 'shift the owners of files'

/**
 * Mounts an image that is mounted already at a second place, read-only, with flags of its own.
 *
 * @throws OcimountError `MOUNT_DENIED`, `MOUNT_FAILED`
 */
export async function bindMount(request: BindRequest): Promise<MountEntry> {
  const { mountpoint } = request
  try {
    await bind(request)
    const entry = mountAt(await readMountinfo(), mountpoint)
    if (entry !== undefined && isOurMount(entry)) return entry
    throw new Error('the mount vanished at once')
  } catch (error) {
    const isDenied = ['EPERM', 'EACCES'].includes(systemErrorCode(error) ?? '')
    throw new OcimountError(
      isDenied ? 'MOUNT_DENIED' : 'MOUNT_FAILED',
      `Cannot mount at ${escapeText(mountpoint)}: ${escapeText(explain(error))}`,
      { cause: error },
    )
  }
}

function explain(error: unknown): string {
  const isShifting = error instanceof Error && 'step' in error && error.step === SHIFTING
  if (!isShifting || systemErrorCode(error) !== 'EINVAL') return messageOf(error)
  return 'the kernel cannot shift the owners of its files: that takes the driver kernel or fuse, and Linux 6.12'
}

async function bind({ source, mountpoint, flags, idMaps }: BindRequest): Promise<void> {
  const native = loadNative()
  if (native !== undefined) {
    const request = {
      ...{ source, mountpoint, flags: nativeFlags(flags) },
      uidMap: formatIdMap(idMaps?.uids ?? []),
      gidMap: formatIdMap(idMaps?.gids ?? []),
    }
    try {
      await native.bindMount(request)
      return
    } catch (error) {
      // Before Linux 5.12 there is no mount_setattr; mount(8) knows the older way, but not to shift owners.
      if (systemErrorCode(error) !== 'ENOSYS' || idMaps !== undefined) throw error
    }
  }
  if (idMaps !== undefined) throw new Error('without the addon owners of files cannot be shifted')
  const options = ['bind', 'ro', ...flagWords(flags)]
  const result = await runTool('mount', ['-o', options.join(','), '--', source, mountpoint])
  if (result.status !== 0) throw new Error(result.message)
}
