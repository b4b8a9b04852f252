// Mounts filesystems that the kernel makes by itself: an overlay, a tmpfs. The addon asks the kernel, mount(8) where it is missing; a
// container waits for each, and a process of its own takes some milliseconds.

import { messageOf } from '../errors.js'
import { loadNative } from '../native.js'
import type { MountFlags } from './driver.js'
import { nativeFlags } from './native-server.js'
import { runTool } from './run-tool.js'

export interface PlainMountRequest {
  readonly type: 'overlay' | 'tmpfs'
  /** Shown as the source of the mount. */
  readonly source: string
  readonly mountpoint: string
  /** The filesystem's own options. */
  readonly options: readonly string[]
  readonly flags: Pick<MountFlags, 'suid' | 'dev' | 'noexec'>
}

/** Of the options the kernel reads a page, of 4 KiB where they are smallest, and drops the end without a word. */
const MAX_DATA = 4096

/** Mounts it; gives what was wrong where that failed, in the words of the system. */
export async function plainMount(request: PlainMountRequest): Promise<string | undefined> {
  const { type, source, mountpoint, options, flags } = request
  const data = options.join(',')
  if (Buffer.byteLength(data) >= MAX_DATA) return 'mount: Argument list too long'
  const native = loadNative()
  if (native !== undefined) {
    try {
      await native.plainMount({ type, source, mountpoint, data, flags: nativeFlags(flags) })
      return undefined
    } catch (error) {
      return messageOf(error)
    }
  }
  const list = [data, ...flagWords(flags)].join(',')
  const result = await runTool('mount', ['-t', type, '-o', list, '--', source, mountpoint])
  return result.status === 0 ? undefined : result.message
}

/** The flags as mount(8) takes them. */
export function flagWords(flags: PlainMountRequest['flags']): string[] {
  const { suid, dev, noexec } = nativeFlags(flags)
  return [suid ? 'suid' : 'nosuid', dev ? 'dev' : 'nodev', ...(noexec ? ['noexec'] : [])]
}
