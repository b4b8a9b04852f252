// What the serving process says to the command that started it.

import type { ErrorCode, ErrorDetails } from '../errors.js'
import type { BundleSummary } from './bundle-request.js'
import type { ProgressUpdate } from './progress.js'
import type { MountSummary } from './mount-summary.js'

export type ServerMessage =
  | { readonly kind: 'progress'; readonly update: ProgressUpdate }
  | { readonly kind: 'ready'; readonly summary: MountSummary | BundleSummary }
  | {
      readonly kind: 'failed'
      readonly code: ErrorCode
      readonly message: string
      readonly details: ErrorDetails
      readonly stack: string
    }
