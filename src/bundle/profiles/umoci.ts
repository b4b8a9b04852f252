import { READONLY_WITH_ASOUND, UMOCI_MASKED_PATHS } from './common-paths.js'
import { DEFAULT_PATH, DEFAULT_TERM, type Profile } from './profile.js'
import { RUNC_PROFILE } from './runc.js'

/** As `umoci unpack`, whose defaults were runc's once. */
export const UMOCI_PROFILE: Profile = {
  ...RUNC_PROFILE,
  areInherited: true,
  hostname: () => 'umoci-default',
  env: ({ home }) => [DEFAULT_PATH, DEFAULT_TERM, ...(home === undefined ? [] : [`HOME=${home}`])],
  volumes: 'empty-tmpfs',
  maskedPaths: UMOCI_MASKED_PATHS,
  readonlyPaths: READONLY_WITH_ASOUND,
  namespaces: () => ['cgroup', 'pid', 'network', 'ipc', 'uts', 'mount'],
  boundSys: 'last',
}
