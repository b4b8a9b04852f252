// Namespaces and id maps: what a container is cut off from, and what it can do without the rights of root.

import { OcimountError } from '../errors.js'
import { hostIdOf, type IdMapping } from '../mount/id-maps.js'
import type { BundleOptions, HostFacts } from './options.js'
import type { Profile } from './profiles/profile.js'
import type { NamespaceType, RuntimeUser } from './runtime-config.js'
import type { ContainerUser } from './user.js'

export interface Isolation {
  readonly namespaces: readonly NamespaceType[]
  readonly isNetworkHost: boolean
  /** Those of the container's own user namespace, where it has one. */
  readonly uidMappings?: readonly IdMapping[]
  readonly gidMappings?: readonly IdMapping[]
  /** Which ids of the container exist at all; undefined where all do. */
  readonly uids: readonly IdMapping[] | undefined
  readonly gids: readonly IdMapping[] | undefined
  /** Whether the runtime lacks the rights of root: no control groups, no device rules. */
  readonly isRootless: boolean
  /** Whether a new instance of sysfs may not be mounted. */
  readonly isSysBound: boolean
  /** Whether a process can have supplementary groups. */
  readonly hasGroups: boolean
}

/** Works out what the options ask for on this machine. */
export function isolationOf(profile: Profile, options: BundleOptions, host: HostFacts): Isolation {
  const { rootless } = options
  const isRootless = rootless !== undefined
  const network = options.network ?? (isRootless && profile.isRootlessNetworkHost ? 'host' : 'none')
  const isNetworkHost = network === 'host'
  const mappings = mappingsOf(options, host)
  const namespaces = profile
    .namespaces(host)
    .filter((type) => !(isNetworkHost && type === 'network'))
  return {
    namespaces: mappings === undefined ? namespaces : [...namespaces, 'user'],
    isNetworkHost,
    ...mappings,
    uids: mappings?.uidMappings ?? host.uidMap,
    gids: mappings?.gidMappings ?? host.gidMap,
    isRootless,
    // sysfs belongs to a network namespace, and may be mounted by who owns that and sees all of another instance.
    isSysBound: isRootless || (mappings !== undefined && isNetworkHost),
    hasGroups: rootless !== 'new' && !(rootless === 'current' && host.isSetgroupsDenied),
  }
}

/**
 * Gives the user as the container's namespace has it. Groups that do not exist there are left out with a warning.
 *
 * @throws OcimountError `USAGE` where its uid or gid does not exist there
 */
export function runtimeUser(
  user: ContainerUser,
  { uids, gids, hasGroups }: Isolation,
  warn: (text: string) => void,
): RuntimeUser {
  const { uid, gid, additionalGids } = user
  checkMapped('user', uid, uids)
  checkMapped('group', gid, gids)
  const kept = additionalGids.filter(
    (group) => hasGroups && (gids === undefined || hostIdOf(group, gids) !== undefined),
  )
  const lost = additionalGids.filter((group) => !kept.includes(group) && group !== gid)
  if (lost.length > 0) {
    warn(`the user namespace has no room for the supplementary groups ${lost.join(', ')}`)
  }
  return { uid, gid, ...(kept.length === 0 ? {} : { additionalGids: kept }) }
}

function mappingsOf(
  { uidMap, gidMap, rootless }: BundleOptions,
  host: HostFacts,
): { uidMappings: readonly IdMapping[]; gidMappings: readonly IdMapping[] } | undefined {
  const uidMappings = uidMap ?? gidMap
  const gidMappings = gidMap ?? uidMap
  if (uidMappings !== undefined && gidMappings !== undefined) {
    checkRoot(uidMappings)
    checkRoot(gidMappings)
    return { uidMappings, gidMappings }
  }
  if (rootless !== 'new') return undefined
  return {
    uidMappings: [{ containerID: 0, hostID: host.uid, size: 1 }],
    gidMappings: [{ containerID: 0, hostID: host.gid, size: 1 }],
  }
}

/** Every runtime sets the container up as root of its user namespace. */
function checkRoot(mappings: readonly IdMapping[]): void {
  if (hostIdOf(0, mappings) !== undefined) return
  throw new OcimountError(
    'USAGE',
    'Cannot map ids for a container without 0, its root (see --uid-map, --gid-map)',
  )
}

function checkMapped(what: string, id: number, mappings: readonly IdMapping[] | undefined): void {
  if (mappings === undefined || hostIdOf(id, mappings) !== undefined) return
  throw new OcimountError(
    'USAGE',
    `Cannot run as ${what} ${id}: the user namespace of the container does not have it (see --uid-map, --user)`,
  )
}
