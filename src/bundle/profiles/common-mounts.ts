// The mounts that all tools make, in the forms that occur (checklist C.5).

import type { RuntimeMount } from '../runtime-config.js'

const SAFE = ['nosuid', 'noexec', 'nodev']

/** As runc and umoci have it, without options. */
export const PLAIN_PROC: RuntimeMount = { destination: '/proc', type: 'proc', source: 'proc' }
export const PROC: RuntimeMount = { ...PLAIN_PROC, options: SAFE }
export const DEV: RuntimeMount = {
  destination: '/dev',
  type: 'tmpfs',
  source: 'tmpfs',
  options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
}
export const DEV_PTS: RuntimeMount = {
  destination: '/dev/pts',
  type: 'devpts',
  source: 'devpts',
  options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
}
export const DEV_SHM = shm('size=65536k')
export const DEV_MQUEUE: RuntimeMount = {
  destination: '/dev/mqueue',
  type: 'mqueue',
  source: 'mqueue',
  options: SAFE,
}
export const SYS: RuntimeMount = {
  destination: '/sys',
  type: 'sysfs',
  source: 'sysfs',
  options: [...SAFE, 'ro'],
}
export const CGROUP = cgroup(...SAFE, 'relatime', 'ro')

/** As runc makes them; the order is part of it. */
export const RUNC_MOUNTS: readonly RuntimeMount[] = [
  PLAIN_PROC,
  DEV,
  DEV_PTS,
  DEV_SHM,
  DEV_MQUEUE,
  SYS,
  CGROUP,
]

export function shm(size: string): RuntimeMount {
  return {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: [...SAFE, 'mode=1777', size],
  }
}

export function cgroup(...options: readonly string[]): RuntimeMount {
  return { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options }
}
