// The OCI runtimes of this machine, for tests that start containers.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

export interface RuntimeCase {
  readonly name: 'crun' | 'runc'
  /** Why it cannot be tested here as root, or false. */
  readonly skip: string | false
}

const HYBRID_CONTROLLERS = '/sys/fs/cgroup/unified/cgroup.controllers'

export const RUNTIME_CASES: readonly RuntimeCase[] = [
  { name: 'crun', skip: skipReason('crun') || hybridReason() },
  { name: 'runc', skip: skipReason('runc') },
]

function skipReason(name: string): string | false {
  if (process.getuid?.() !== 0) return 'it needs root'
  return spawnSync(name, ['--version']).status === 0 ? false : `${name} is not installed`
}

function hybridReason(): string | false {
  if (!existsSync(HYBRID_CONTROLLERS)) return false
  const controllers = readFileSync(HYBRID_CONTROLLERS, 'utf8').trim()
  return controllers === ''
    ? false
    : `crun refuses a machine on which cgroups v2 has ${controllers} and v1 the rest`
}
