// The servers to ask for a repository, in order: what registries.conf says about it, else what a hosts.toml of containerd says
// about its registry, else what Docker's daemon.json says, else the registry alone. The files are the administrator's, and believed.

import { homedir } from 'node:os'
import { join } from 'node:path'
import { originEndpoint, type Endpoint } from './endpoint.js'
import { loadDaemonJson } from './daemon-json.js'
import { loadHostsToml } from './hosts-toml.js'
import { loadRegistriesConf, type RegistriesConfFiles } from './registries-conf.js'

/** Where configuration is looked for, in place of the usual places. */
export interface MirrorFiles extends RegistriesConfFiles {
  /** Directories with a directory for each registry. */
  readonly hostsDirectories: readonly string[]
  /** Of Docker, of which the first that exists counts; default: none. */
  readonly daemonJson?: readonly string[]
}

export interface FindEndpointsOptions {
  readonly isInsecure: boolean
  readonly env: NodeJS.ProcessEnv
  readonly files?: MirrorFiles | undefined
}

/**
 * Gives the servers to ask, the most wanted first and the registry itself last.
 *
 * @throws RegistryError `REGISTRY_DENIED` for a registry that is blocked, or for configuration that cannot be read
 */
export async function findEndpoints(
  name: { readonly domain: string; readonly repository: string },
  { isInsecure, env, files = usualFiles(env) }: FindEndpointsOptions,
): Promise<readonly Endpoint[]> {
  const configured = await loadRegistriesConf(name, files, { isInsecure })
  if (configured !== undefined) return configured
  const hosts = await loadHostsToml(name, files.hostsDirectories)
  if (hosts !== undefined) {
    return [...hosts.mirrors, hosts.server ?? originEndpoint(name, { isInsecure })]
  }
  const daemon = await loadDaemonJson(name, files.daemonJson ?? [], { isInsecure })
  return daemon ?? [originEndpoint(name, { isInsecure })]
}

function usualFiles(env: NodeJS.ProcessEnv): MirrorFiles {
  const named = env['CONTAINERS_REGISTRIES_CONF']
  const config = env['XDG_CONFIG_HOME'] ?? join(env['HOME'] ?? homedir(), '.config')
  const user = join(config, 'containers')
  return {
    registriesConf:
      named === undefined || named === ''
        ? [join(user, 'registries.conf'), '/etc/containers/registries.conf']
        : [named],
    registriesConfDirectories: [
      '/etc/containers/registries.conf.d',
      join(user, 'registries.conf.d'),
    ],
    hostsDirectories: ['/etc/containerd/certs.d'],
    // That of a daemon without root first.
    daemonJson: [join(config, 'docker/daemon.json'), '/etc/docker/daemon.json'],
  }
}
