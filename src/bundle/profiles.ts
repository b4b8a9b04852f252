// The profiles by name (checklist C-095).

import type { ProfileName } from './options.js'
import { CONTAINERD_PROFILE } from './profiles/containerd.js'
import { DOCKER_PROFILE } from './profiles/docker.js'
import { PODMAN_PROFILE } from './profiles/podman.js'
import { DEFAULT_PATH, DEFAULT_TERM, type Profile } from './profiles/profile.js'
import { RUNC_PROFILE } from './profiles/runc.js'
import { UMOCI_PROFILE } from './profiles/umoci.js'

/**
 * Our own: runc's mounts and namespaces, podman's capabilities and its masked and read-only paths, no new privileges. A
 * terminal only when there is one, and no limit on open files but that of whoever starts the container.
 */
const DEFAULT_PROFILE: Profile = {
  ...RUNC_PROFILE,
  terminal: false,
  rlimits: [],
  capabilities: PODMAN_PROFILE.capabilities,
  areForRoot: true,
  hostname: () => 'ocimount',
  env: ({ home, isTerminal }) => [
    DEFAULT_PATH,
    `HOME=${home ?? '/'}`,
    ...(isTerminal ? [DEFAULT_TERM] : []),
  ],
  volumes: 'tmpfs',
  maskedPaths: PODMAN_PROFILE.maskedPaths,
  isThermalMasked: true,
  readonlyPaths: PODMAN_PROFILE.readonlyPaths,
  hasSeccomp: true,
  boundSys: 'drop',
  isRootlessNetworkHost: false,
}

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  default: DEFAULT_PROFILE,
  runc: RUNC_PROFILE,
  umoci: UMOCI_PROFILE,
  containerd: CONTAINERD_PROFILE,
  docker: DOCKER_PROFILE,
  podman: PODMAN_PROFILE,
}
