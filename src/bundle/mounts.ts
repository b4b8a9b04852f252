// The list of mounts: the profile's, then the image's volumes, files of /etc and the caller's mounts, parents first
// (checklist C-064, C-081, C-101).

import { quote } from '../image/quote.js'
import type { BundleFile, ConversionInput, MountPoint, MountPointRole } from './conversion.js'
import { hostIdOf } from '../mount/id-maps.js'
import { isAtOrBelow, RUNTIME_DIRECTORIES } from './container-path.js'
import type { Isolation } from './isolation.js'
import { HOST_NETWORK_FILES, type RequestedMount } from './options.js'
import { refusedValue } from './origin.js'
import type { Profile } from './profiles/profile.js'
import type { RuntimeMount } from './runtime-config.js'
import { volumeMount, volumePaths } from './volumes.js'

export interface MountPlan {
  readonly mounts: readonly RuntimeMount[]
  readonly files: readonly BundleFile[]
  /** In the order of the mounts; those on other mounts of the profile are left out. */
  readonly mountPoints: readonly MountPoint[]
}

/**
 * Makes the mounts of a container.
 *
 * @throws OcimountError `IMAGE_INVALID` for a volume, `USAGE` for a mount of the caller
 */
export function planMounts(
  input: ConversionInput,
  profile: Profile,
  { isolation, hostname }: { isolation: Isolation; hostname: string | undefined },
): MountPlan {
  const { image, options, tree } = input
  const requested = byDestination(options.mounts ?? [])
  const base = baseMounts(profile, isolation).map((mount) => {
    const own = requested.get(mount.destination)
    requested.delete(mount.destination)
    return own === undefined ? placed(mount, profileRole(mount)) : placeRequested(own)
  })
  const volumes = options.volumes ?? profile.volumes
  const kind = volumes === 'tmpfs' && profile.volumes === 'empty-tmpfs' ? 'empty-tmpfs' : volumes
  const paths = volumePaths(image.config.config.Volumes)
  const ofImage = kind === 'ignore' ? [] : paths.map((path) => volumeMount(tree, path, kind))
  const etc = etcMounts(input, profile, { isolation, hostname })
  const extra = [
    ...ofImage.map((mount) => placed(mount, 'volume')),
    ...etc.mounts.map((mount) => placed(mount, 'etc')),
  ].filter(({ mount }) => !requested.has(mount.destination))
  const all = [...base, ...[...extra, ...[...requested.values()].map(placeRequested)].sort(byDepth)]
  return {
    mounts: all.map(({ mount }) => withMappedOwner(mount, isolation)),
    files: etc.files,
    mountPoints: all
      .map(({ point }) => point)
      .filter(({ path, role }) => {
        const isInside = RUNTIME_DIRECTORIES.some(
          (name) => path !== name && isAtOrBelow(path, name),
        )
        return !(isInside && (role === 'profile' || role === 'mount'))
      }),
  }
}

interface PlacedMount {
  readonly mount: RuntimeMount
  readonly point: MountPoint
}

function placed(mount: RuntimeMount, role: MountPointRole): PlacedMount {
  const origin = role === 'volume' || role === 'etc' ? 'image' : 'option'
  return { mount, point: { path: mount.destination, isFile: role === 'etc', role, origin } }
}

function placeRequested({ isFile, ...mount }: RequestedMount): PlacedMount {
  return { mount, point: { path: mount.destination, isFile, role: 'mount', origin: 'option' } }
}

function profileRole({ destination }: RuntimeMount): MountPointRole {
  return RUNTIME_DIRECTORIES.some((name) => name === destination) ? 'runtime' : 'profile'
}

function byDepth(a: PlacedMount, b: PlacedMount): number {
  const depth = ({ mount }: PlacedMount): number => mount.destination.split('/').length
  const [left, right] = [a.mount.destination, b.mount.destination]
  return depth(a) - depth(b) || (left < right ? -1 : left > right ? 1 : 0)
}

function byDestination(mounts: readonly RequestedMount[]): Map<string, RequestedMount> {
  const found = new Map<string, RequestedMount>()
  for (const mount of mounts) {
    const subject = `mount at ${quote(mount.destination)}`
    if (found.has(mount.destination)) {
      throw refusedValue('option', subject, 'another one is asked for at the same place')
    }
    found.set(mount.destination, mount)
  }
  return found
}

function baseMounts(profile: Profile, { isSysBound }: Isolation): readonly RuntimeMount[] {
  const { mounts, boundSys } = profile
  if (!isSysBound) return mounts
  const isBelow = ({ destination }: RuntimeMount): boolean => destination.startsWith('/sys/')
  const kept = boundSys === 'keep' ? mounts : mounts.filter((mount) => !isBelow(mount))
  if (boundSys === 'last') {
    return [...kept.filter(({ destination }) => destination !== '/sys'), BOUND_SYS]
  }
  return kept.map((mount) => (mount.destination === '/sys' ? BOUND_SYS : mount))
}

/** What runc and umoci do for a container without the rights of root. */
const BOUND_SYS: RuntimeMount = {
  destination: '/sys',
  type: 'none',
  source: '/sys',
  options: ['rbind', 'nosuid', 'noexec', 'nodev', 'ro'],
}

/** An id that the user namespace does not have makes the mount fail. */
function withMappedOwner(mount: RuntimeMount, { uids, gids }: Isolation): RuntimeMount {
  if (mount.options === undefined) return mount
  const options = mount.options.filter((option) => {
    const match = /^([ug]id)=([0-9]+)$/.exec(option)
    const mappings = match?.[1] === 'uid' ? uids : gids
    return (
      match === null || mappings === undefined || hostIdOf(Number(match[2]), mappings) !== undefined
    )
  })
  return { ...mount, options }
}

function etcMounts(
  { host }: ConversionInput,
  { etcMountOptions }: Profile,
  { isolation, hostname }: { isolation: Isolation; hostname: string | undefined },
): { mounts: readonly RuntimeMount[]; files: readonly BundleFile[] } {
  const fromHost = HOST_NETWORK_FILES.filter(
    (path) => isolation.isNetworkHost && host.networkFiles.has(path),
  )
  const bound = fromHost.map((path) => ({
    ...{ destination: path, type: 'bind', source: path },
    // A bind mount in a user namespace must not lose a flag of its source.
    options: ['bind', 'rprivate', 'ro', ...(host.networkFiles.get(path) ?? [])],
  }))
  const generated = etcMountOptions === undefined ? [] : generatedFiles(hostname ?? 'localhost')
  const files = generated.filter(({ name }) => !fromHost.some((path) => path === `/etc/${name}`))
  const options = etcMountOptions ?? []
  const mounted = files.map(({ name }) => ({
    ...{ destination: `/etc/${name}`, type: 'bind', source: name, options },
  }))
  return { mounts: [...bound, ...mounted], files }
}

/** What a container without a network needs to know of names. */
function generatedFiles(hostname: string): BundleFile[] {
  return [
    { name: 'resolv.conf', content: '' },
    { name: 'hosts', content: `127.0.0.1\tlocalhost ${hostname}\n::1\tlocalhost ${hostname}\n` },
    { name: 'hostname', content: `${hostname}\n` },
  ]
}
