// What the options of `bundle` and `run` say of the container: parsed, sent to the serving process, received there.

import { resolve } from 'node:path'
import { parseCapability } from '../bundle/capabilities.js'
import { locateMounts, readEnvFiles, readSeccompProfile } from '../bundle/host-facts.js'
import { parseIdMappings } from '../bundle/id-mapping.js'
import { parseMount, parseSize, parseVolume } from '../bundle/mount-options.js'
import {
  parseAnnotations,
  parseCpus,
  parseEntrypoint,
  parseEnv,
  parseHostname,
  parsePidsLimit,
} from '../bundle/option-values.js'
import type { BundleOptions } from '../bundle/options.js'
import type { ContainerArguments } from './container-options.js'

/** As {@link BundleOptions}, but JSON-safe. */
export interface SentOptions extends Omit<BundleOptions, 'annotations'> {
  readonly annotations: readonly (readonly [string, string])[]
}

/**
 * Parses the values.
 *
 * @throws OcimountError `USAGE`, `FILE_NOT_FOUND` for a file that is not there
 */
export async function parseContainerOptions(
  args: ContainerArguments,
  cwd: string,
): Promise<SentOptions> {
  const mounts = [...args.mount.map(parseMount), ...args.volume.map(parseVolume)]
  const { seccomp } = args
  return {
    profile: args.profile,
    args: args.args,
    entrypoint: parseIfGiven(args.entrypoint, parseEntrypoint),
    // Of one name the last value counts.
    env: [
      ...(await readEnvFiles(args.envFile.map((path) => resolve(cwd, path)))),
      ...parseEnv(args.env, process.env),
    ],
    user: args.user,
    workdir: args.workdir,
    hostname: parseIfGiven(args.hostname, parseHostname),
    mounts: mounts.length === 0 ? undefined : await locateMounts(mounts),
    volumes: args.volumes,
    annotations: [...parseAnnotations(args.annotation)],
    allLabels: args.allLabels,
    capAdd: args.capAdd.map(parseCapability),
    capDrop: args.capDrop.map(parseCapability),
    network: args.network,
    seccomp:
      seccomp === undefined || seccomp === 'none'
        ? seccomp
        : await readSeccompProfile(resolve(cwd, seccomp)),
    memory: parseIfGiven(args.memory, parseSize),
    cpus: parseIfGiven(args.cpus, parseCpus),
    pidsLimit: parseIfGiven(args.pidsLimit, parsePidsLimit),
    uidMap: args.uidMap.length === 0 ? undefined : parseIdMappings(args.uidMap),
    gidMap: args.gidMap.length === 0 ? undefined : parseIdMappings(args.gidMap),
    readOnly: args.readOnly,
    tty: args.tty,
  }
}

/** What was sent, as the conversion takes it. */
export function receivedOptions(sent: SentOptions): BundleOptions {
  return { ...sent, annotations: new Map(sent.annotations) }
}

function parseIfGiven<T>(text: string | undefined, parse: (text: string) => T): T | undefined {
  return text === undefined ? undefined : parse(text)
}
