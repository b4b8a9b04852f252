// The drivers as a table, for tests that hold for each of them, with what each is known not to show (DESIGN section 8).

import type { Test } from 'tap'
import { textOf, type ByteString } from '../../src/byte-string.js'
import type { MountDriver } from '../../src/mount/driver.js'
import { kernelSkipReason } from './erofs-kernel.js'
import type { TreeSnapshot } from './erofs-tree.js'
import { addonSkipReason } from './native-addon.js'
import { fuseSkipReason, rootSkipReason } from './with-mount.js'

export interface DriverCase {
  readonly name: MountDriver['name']
  /** Why it cannot be tested here as root, or false. */
  readonly skip: string | false
  /** The type that the kernel shows for its mounts. */
  readonly fsType: string
  /** Takes away what the driver is known not to show. */
  asShown(snapshot: TreeSnapshot): TreeSnapshot
}

export const DRIVER_CASES: readonly DriverCase[] = [
  {
    name: 'kernel',
    skip: fuseSkipReason() || addonSkipReason() || kernelSkipReason('fuse'),
    fsType: 'erofs',
    asShown: (snapshot) => snapshot,
  },
  {
    name: 'fuse',
    skip: process.getuid?.() === 0 ? fuseSkipReason() || addonSkipReason() : 'it needs root',
    fsType: 'fuse.ocimount',
    asShown: (snapshot) => snapshot,
  },
  {
    name: 'fuse-native',
    skip: rootSkipReason(),
    fsType: 'fuse.ocimount',
    asShown: textAndMilliseconds,
  },
]

/** Runs a test once for each driver, but for those that cannot, each with its reason. */
export function eachDriver(
  t: Test,
  title: string,
  body: (t: Test, driver: DriverCase['name'], known: DriverCase) => Promise<void>,
  unfit: Partial<Record<DriverCase['name'], string>> = {},
): void {
  for (const known of DRIVER_CASES) {
    void t.test(`${known.name}: ${title}`, { skip: unfit[known.name] ?? known.skip }, async (t) => {
      await body(t, known.name, known)
    })
  }
}

/** Names and times as fuse-native shows them: see fuse-native-limits.ts. */
function textAndMilliseconds(snapshot: TreeSnapshot): TreeSnapshot {
  const shown: TreeSnapshot = new Map()
  for (const [path, row] of snapshot) {
    if (!isText(path)) continue
    const milliseconds = BigInt(row.mtime) / 1_000_000n
    shown.set(path, {
      ...row,
      mtime: String(milliseconds > 0n ? milliseconds * 1_000_000n : 0n),
      entries: row.entries?.filter(([entry]) => isText(entry)) ?? null,
    })
  }
  return shown
}

function isText(bytes: string): boolean {
  return textOf(bytes as ByteString) !== undefined
}
