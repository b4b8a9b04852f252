// The options of `bundle` and `run` that shape the container, as a table and in parsed form.

import { resolve } from 'node:path'
import type { Options } from 'yargs'
import { parseCapability } from '../bundle/capabilities.js'
import { locateMounts, readSeccompProfile } from '../bundle/host-facts.js'
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
import type { BundleOptions, ProfileName } from '../bundle/options.js'
import { OcimountError } from '../errors.js'

/** What the parser hands over of the options below. */
export interface ContainerArguments {
  readonly args: readonly string[] | undefined
  readonly profile: ProfileName
  readonly env: readonly string[]
  readonly user: string | undefined
  readonly workdir: string | undefined
  readonly entrypoint: string | undefined
  readonly hostname: string | undefined
  readonly mount: readonly string[]
  readonly volume: readonly string[]
  readonly volumes: 'tmpfs' | 'ignore' | undefined
  readonly capAdd: readonly string[]
  readonly capDrop: readonly string[]
  readonly readOnly: boolean
  readonly tty: boolean
  readonly annotation: readonly string[]
  readonly allLabels: boolean
  readonly network: 'none' | 'host'
  readonly seccomp: string | undefined
  readonly memory: string | undefined
  readonly cpus: string | undefined
  readonly pidsLimit: string | undefined
  readonly uidMap: readonly string[]
  readonly gidMap: readonly string[]
}

/** As {@link BundleOptions}, but JSON-safe. */
export interface SentOptions extends Omit<BundleOptions, 'annotations'> {
  readonly annotations: readonly (readonly [string, string])[]
}

/**
 * Parses the values.
 *
 * @throws OcimountError `USAGE`, `FILE_NOT_FOUND` for a source or a profile that is not there
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
    env: parseEnv(args.env, process.env),
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

/**
 * Refuses maps where the image is mounted: its files would belong to nobody in the container.
 *
 * @throws OcimountError `USAGE`
 */
export function refuseMapsOnMount({ uidMap, gidMap }: ContainerArguments): void {
  if (uidMap.length === 0 && gidMap.length === 0) return
  throw new OcimountError(
    'USAGE',
    'Cannot use --uid-map on a mounted image: the owners of its files are not shifted yet; bundle --no-mount writes the config',
  )
}

/** What was sent, as the conversion takes it. */
export function receivedOptions(sent: SentOptions): BundleOptions {
  return { ...sent, annotations: new Map(sent.annotations) }
}

function parseIfGiven<T>(text: string | undefined, parse: (text: string) => T): T | undefined {
  return text === undefined ? undefined : parse(text)
}

const text = (describe: string, more: Options = {}): Options => ({
  type: 'string',
  requiresArg: true,
  describe,
  ...more,
})
const list = (describe: string, more: Options = {}): Options =>
  text(describe, { array: true, nargs: 1, default: [], ...more })
const flag = (describe: string, more: Options = {}): Options => ({
  type: 'boolean',
  default: false,
  describe,
  ...more,
})

/** Options of both commands. */
export const CONTAINER_OPTIONS: Readonly<Record<string, Options>> = {
  env: list('NAME=VALUE, or NAME for the value it has here', { alias: 'e' }),
  user: text('USER[:GROUP], names or numbers', { alias: 'u' }),
  workdir: text('Working directory', { alias: 'w' }),
  entrypoint: { type: 'string', describe: 'Program, or JSON array; empty: none' },
  hostname: text('Host name'),
  mount: list('type=bind,src=PATH,dst=PATH[,ro] or type=tmpfs,dst=PATH'),
  volume: list('SOURCE:DESTINATION[:ro]', { alias: 'v' }),
  volumes: {
    choices: ['tmpfs', 'ignore'],
    describe: 'What becomes of the image’s volumes [default: as the profile says]',
  },
  'cap-add': list('Capability to add, or ALL'),
  'cap-drop': list('Capability to drop, or ALL'),
  'read-only': flag('Stack no writable overlay on the image'),
  tty: flag('Give the container a terminal', { alias: 't' }),
  annotation: list('KEY=VALUE'),
  'all-labels': flag('Keep labels that a runtime would act upon'),
  network: {
    choices: ['none', 'host'],
    default: 'none',
    describe: 'A loopback device alone, or the network of this machine',
  },
  seccomp: text('Profile, or none [default: the machine’s]'),
  memory: text('Limit, such as 500m', { alias: 'm' }),
  cpus: text('Limit, such as 1.5'),
  'pids-limit': text('Number of processes'),
  'uid-map': list('CONTAINER:HOST:SIZE'),
  'gid-map': list('CONTAINER:HOST:SIZE'),
  profile: {
    choices: ['default', 'runc', 'umoci', 'containerd', 'docker', 'podman'],
    default: 'default',
    describe: 'Whose defaults the container has',
  },
}
