import type { RuntimeDeviceRule } from '../runtime-config.js'
import { cgroup, DEV, DEV_MQUEUE, DEV_PTS, PROC, shm, SYS } from './common-mounts.js'
import { DOCKER_MASKED_PATHS, READONLY_PATHS } from './common-paths.js'
import { FOURTEEN_CAPABILITIES } from './containerd.js'
import { DEFAULT_PATH, DEFAULT_TERM, DENY_ALL, shortId, type Profile } from './profile.js'

/** As `docker run`: of what the daemon keeps of its own there are the files of /etc, not the volumes. */
export const DOCKER_PROFILE: Profile = {
  terminal: false,
  noNewPrivileges: false,
  rlimits: [],
  capabilities: FOURTEEN_CAPABILITIES,
  areInherited: false,
  // It leaves this to the execve(2) of a user that is not root, to the same effect.
  areForRoot: false,
  hostname: shortId,
  env: ({ hostname, isTerminal }) => [
    DEFAULT_PATH,
    ...(hostname === undefined ? [] : [`HOSTNAME=${hostname}`]),
    ...(isTerminal ? [DEFAULT_TERM] : []),
  ],
  mounts: [
    PROC,
    DEV,
    DEV_PTS,
    SYS,
    cgroup('ro', 'nosuid', 'noexec', 'nodev'),
    DEV_MQUEUE,
    // --shm-size is 64 MiB by default.
    shm('size=67108864'),
  ],
  etcMountOptions: ['rbind', 'rprivate'],
  volumes: 'tmpfs',
  maskedPaths: DOCKER_MASKED_PATHS,
  isThermalMasked: true,
  readonlyPaths: READONLY_PATHS,
  namespaces: ({ isCgroupV2, hasTimeNamespaces }) => [
    'mount',
    'network',
    ...(hasTimeNamespaces ? (['time'] as const) : []),
    'uts',
    'pid',
    'ipc',
    ...(isCgroupV2 ? (['cgroup'] as const) : []),
  ],
  deviceRules: [
    DENY_ALL,
    allow(1, 5), // zero
    allow(1, 3), // null
    allow(1, 9), // urandom
    allow(1, 8), // random
    allow(5, 0), // tty
    allow(5, 1), // console
    { allow: false, type: 'c', major: 10, minor: 229, access: 'rwm' }, // fuse
  ],
  sysctl: {
    'net.ipv4.ip_unprivileged_port_start': '0',
    'net.ipv4.ping_group_range': '0 2147483647',
  },
  hasSeccomp: true,
  boundSys: 'drop',
  isRootlessNetworkHost: false,
}

function allow(major: number, minor: number): RuntimeDeviceRule {
  return { allow: true, type: 'c', major, minor, access: 'rwm' }
}
