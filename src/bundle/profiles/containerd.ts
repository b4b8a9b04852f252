import { DEV, DEV_MQUEUE, DEV_PTS, DEV_SHM, PROC, SYS } from './common-mounts.js'
import { CONTAINERD_MASKED_PATHS, READONLY_PATHS } from './common-paths.js'
import { DEFAULT_PATH, DEFAULT_TERM, DENY_ALL, NOFILE_1024, type Profile } from './profile.js'

/** The fourteen of containerd and Docker. */
export const FOURTEEN_CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
]

/** As containerd's own default spec, which `ctr run` starts from; CRI and nerdctl add to it. */
export const CONTAINERD_PROFILE: Profile = {
  terminal: false,
  noNewPrivileges: true,
  rlimits: [NOFILE_1024],
  capabilities: FOURTEEN_CAPABILITIES,
  areInherited: false,
  areForRoot: false,
  hostname: () => undefined,
  env: ({ hasEnv, isTerminal }) => [
    ...(hasEnv ? [] : [DEFAULT_PATH]),
    ...(isTerminal ? [DEFAULT_TERM] : []),
  ],
  mounts: [PROC, DEV, DEV_PTS, DEV_SHM, DEV_MQUEUE, SYS, { ...DEV, destination: '/run' }],
  volumes: 'ignore',
  maskedPaths: CONTAINERD_MASKED_PATHS,
  isThermalMasked: false,
  readonlyPaths: READONLY_PATHS,
  namespaces: () => ['pid', 'ipc', 'uts', 'mount', 'network'],
  deviceRules: [DENY_ALL],
  cgroupsPath: (id) => `/default/${id}`,
  hasSeccomp: false,
  boundSys: 'drop',
  isRootlessNetworkHost: false,
}
