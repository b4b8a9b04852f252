// The options of `bundle` and `run` that shape the container, as a table. It is read by every command, so it loads nothing of
// bundle/; container-request.ts gives the values a meaning.

import type { Options } from 'yargs'
import type { ProfileName } from '../bundle/options.js'

/** What the parser hands over of the options below. */
export interface ContainerArguments {
  readonly args: readonly string[] | undefined
  readonly profile: ProfileName
  readonly env: readonly string[]
  readonly envFile: readonly string[]
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
  'env-file': list('File with a line as --env has it for each variable; --env wins'),
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
