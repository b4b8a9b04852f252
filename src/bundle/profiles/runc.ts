import { RUNC_MOUNTS } from './common-mounts.js'
import { READONLY_PATHS, RUNC_MASKED_PATHS } from './common-paths.js'
import {
  DEFAULT_PATH,
  DEFAULT_TERM,
  DENY_ALL,
  NOFILE_1024,
  withCgroupNamespace,
  type Profile,
} from './profile.js'

/** Three that do no harm: to log, to signal, to listen below 1024. */
export const RUNC_CAPABILITIES = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE']

/** As `runc spec`. */
export const RUNC_PROFILE: Profile = {
  terminal: true,
  noNewPrivileges: true,
  rlimits: [NOFILE_1024],
  capabilities: RUNC_CAPABILITIES,
  areInherited: false,
  areForRoot: false,
  hostname: () => 'runc',
  env: () => [DEFAULT_PATH, DEFAULT_TERM],
  mounts: RUNC_MOUNTS,
  volumes: 'ignore',
  maskedPaths: RUNC_MASKED_PATHS,
  isThermalMasked: false,
  readonlyPaths: READONLY_PATHS,
  namespaces: withCgroupNamespace(['pid', 'network', 'ipc', 'uts', 'mount']),
  deviceRules: [DENY_ALL],
  hasSeccomp: false,
  boundSys: 'keep',
  isRootlessNetworkHost: true,
}
