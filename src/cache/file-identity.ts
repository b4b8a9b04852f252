// What tells one state of a file from another without reading it.

import { createHash } from 'node:crypto'
import type { BigIntStats } from 'node:fs'

/**
 * Device, inode, size and both times of a file, to the nanosecond.
 *
 * ctime cannot be set by a user, so a file whose content changed has another identity; equal identities
 * are taken for equal content (DESIGN section 7).
 */
export interface FileIdentity {
  readonly dev: string
  readonly ino: string
  readonly size: number
  readonly mtimeNs: string
  readonly ctimeNs: string
}

/** Takes the identity from an `fstat` with `bigint: true`. */
export function fileIdentity(stats: BigIntStats): FileIdentity {
  return {
    dev: String(stats.dev),
    ino: String(stats.ino),
    size: Number(stats.size),
    mtimeNs: String(stats.mtimeNs),
    ctimeNs: String(stats.ctimeNs),
  }
}

/** Tells whether both are the same state of the same file. */
export function isSameIdentity(a: FileIdentity, b: FileIdentity): boolean {
  return (
    a.dev === b.dev &&
    a.ino === b.ino &&
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  )
}

/** Gives 64 hex digits that stand for the identity as a file name. */
export function identityKey(identity: FileIdentity): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = identity
  return createHash('sha256').update([dev, ino, size, mtimeNs, ctimeNs].join(',')).digest('hex')
}
