// The OCI runtimes of this machine, for tests that start containers.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { TAP } from 'tap'

export interface RuntimeCase {
  readonly name: 'crun' | 'runc'
  /** Why it cannot be tested here as root, or false. */
  readonly skip: string | false
}

const SECOND_HIERARCHY = '/sys/fs/cgroup/unified'
const IS_HYBRID = hybridControllers() !== ''

export const RUNTIME_CASES: readonly RuntimeCase[] = [
  { name: 'crun', skip: skipReason('crun') || (IS_HYBRID && 'crun refuses hybrid cgroups') },
  { name: 'runc', skip: skipReason('runc') },
]

/**
 * Runs a test file in a mount namespace of its own, without the second hierarchy of a machine whose control groups are of both
 * versions: crun refuses that. Gives false where that is not needed, or cannot be, and the file is to go on as it is.
 */
export async function runsElsewhere(t: TAP, file: string): Promise<boolean> {
  if (!IS_HYBRID || skipReason('crun') !== false) return false
  const hide = `umount -l ${SECOND_HIERARCHY} && exec "$@"`
  const command = [process.execPath, ...process.execArgv, fileURLToPath(file)]
  // As a slave, so that it keeps no mount of other tests.
  const unshare = ['-m', '--propagation', 'slave', 'sh', '-c', hide, 'sh', ...command]
  await t.spawn('unshare', unshare, 'without hybrid cgroups')
  return true
}

function skipReason(name: string): string | false {
  if (process.getuid?.() !== 0) return 'it needs root'
  return spawnSync(name, ['--version']).status === 0 ? false : `${name} is not installed`
}

function hybridControllers(): string {
  const path = `${SECOND_HIERARCHY}/cgroup.controllers`
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
}
