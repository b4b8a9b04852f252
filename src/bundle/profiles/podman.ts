import { cgroup, DEV, DEV_MQUEUE, DEV_PTS, DEV_SHM, PROC, SYS } from './common-mounts.js'
import { PODMAN_MASKED_PATHS, READONLY_WITH_ASOUND } from './common-paths.js'
import {
  DEFAULT_PATH,
  DEFAULT_TERM,
  DENY_ALL,
  shortId,
  withCgroupNamespace,
  type Profile,
} from './profile.js'

/** What is left of Docker's when making devices, raw sockets and writing to the audit log are taken away. */
export const PODMAN_CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_NET_BIND_SERVICE',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
]

/** As `podman run`. */
export const PODMAN_PROFILE: Profile = {
  terminal: false,
  noNewPrivileges: false,
  rlimits: [],
  umask: 0o022,
  capabilities: PODMAN_CAPABILITIES,
  areInherited: false,
  areForRoot: true,
  hostname: shortId,
  env: ({ home, hostname }) => [
    DEFAULT_PATH,
    DEFAULT_TERM,
    'container=podman',
    `HOME=${home ?? '/'}`,
    ...(hostname === undefined ? [] : [`HOSTNAME=${hostname}`]),
  ],
  mounts: [
    PROC,
    DEV,
    DEV_PTS,
    DEV_SHM,
    DEV_MQUEUE,
    SYS,
    cgroup('rprivate', 'nosuid', 'noexec', 'nodev', 'relatime', 'ro'),
  ],
  etcMountOptions: ['bind', 'rprivate'],
  volumes: 'tmpfs',
  maskedPaths: PODMAN_MASKED_PATHS,
  isThermalMasked: true,
  readonlyPaths: READONLY_WITH_ASOUND,
  namespaces: withCgroupNamespace(['pid', 'network', 'ipc', 'uts', 'mount']),
  deviceRules: [DENY_ALL],
  pidsLimit: 2048,
  hasSeccomp: true,
  boundSys: 'drop',
  isRootlessNetworkHost: false,
}
