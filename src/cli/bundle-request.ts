// What `bundle` and `run` ask of the serving process, and what it answers; JSON-safe.

import type { ContainerRecord } from '../mount/state.js'
import type { SentOptions } from './container-request.js'
import type { ImageRequest, MountRequest } from './mount-request.js'

export interface BundleRequest extends ImageRequest, Pick<MountRequest, 'driver'> {
  readonly kind: 'bundle'
  /** Absolute. */
  readonly directory: string
  /** Private ones are removed with the mount. */
  readonly isPrivate: boolean
  readonly mounts: boolean
  /** Has the runtime unmount when the container has stopped. */
  readonly hooks: boolean
  readonly options: SentOptions
  readonly container: ContainerRecord | undefined
}

/** What was made, for the user and for --json. */
export interface BundleSummary {
  readonly kind: 'bundle'
  readonly id: string | undefined
  readonly directory: string
  readonly rootfs: string
  readonly image: string
  readonly imageId: string
  readonly platform: string
  readonly driver: string | undefined
  readonly writable: boolean
  /** Mount points that were added to the tree. */
  readonly generated: readonly string[]
  readonly warnings: readonly string[]
  readonly seconds: number
  readonly openSeconds: number
  readonly indexSeconds: number
  readonly mountSeconds: number
  readonly pid: number | null | undefined
}
