// What the cache takes on disk, in blocks that are really allocated.

import type { CachePaths, EntryKind } from './cache-paths.js'
import { listEntries, namesOf, spaceBelow } from './entries.js'

export interface KindUsage {
  readonly entries: number
  /** Space on disk. */
  readonly bytes: number
}

export interface DiskUsage {
  readonly kinds: Readonly<Record<EntryKind, KindUsage>>
  /** Work in progress of this and other processes. */
  readonly staging: KindUsage
  readonly totalBytes: number
}

/** @throws OcimountError `STORAGE_FAILED` */
export async function diskUsage(paths: CachePaths): Promise<DiskUsage> {
  const none: KindUsage = { entries: 0, bytes: 0 }
  const kinds = {
    layer: none,
    'blob-index': none,
    rootfs: none,
    archive: none,
    decoded: none,
    blob: none,
    partial: none,
  }
  let totalBytes = 0
  for (const { kind, bytes } of await listEntries(paths)) {
    kinds[kind] = { entries: kinds[kind].entries + 1, bytes: kinds[kind].bytes + bytes }
    totalBytes += bytes
  }
  const staging = {
    entries: (await namesOf(paths.tmpPath)).length,
    bytes: await spaceBelow(paths.tmpPath),
  }
  return { kinds, staging, totalBytes: totalBytes + staging.bytes }
}
