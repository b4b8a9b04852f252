// Small disks for the tests of full ones.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'

/** Runs work with the path for a cache on a small tmpfs. */
export async function withTmpfs(
  t: Test,
  options: string,
  work: (dir: string) => Promise<void>,
): Promise<void> {
  const path = join(t.testdir(), 'disk')
  mkdirSync(path)
  execFileSync('mount', ['-t', 'tmpfs', '-o', `${options},mode=0700`, 'tmpfs', path])
  try {
    await work(join(path, 'cache'))
  } finally {
    execFileSync('umount', ['-l', path])
  }
}

/** Says why {@link withTmpfs} cannot work here, or gives false. */
export function cannotMountTmpfs(): string | false {
  if (process.getuid?.() !== 0) return 'needs root to mount a tmpfs'
  const tried = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'])
  return tried.status === 0 ? false : 'cannot mount a tmpfs here'
}
