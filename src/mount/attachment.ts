import type { MountFlags } from './driver.js'
import type { IdMaps } from './id-maps.js'
import type { NewMount } from './state.js'

/** What is to be mounted on a lower; JSON-safe. */
export interface Attachment extends Omit<NewMount, 'isWritable' | 'direct' | 'lower'> {
  /** See stack.ts. */
  readonly writable: boolean | string
  readonly flags: Pick<MountFlags, 'suid' | 'dev' | 'noexec'>
  /** Shifts the owners of files. */
  readonly idMaps?: IdMaps | undefined
  /** Mounts only when all layers are verified. */
  readonly verifyFirst: boolean
}
