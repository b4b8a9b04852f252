// The command line as data: every command with its options and an example. What a command does is in a module
// of its own that is loaded only when the command runs.

import type { Options } from 'yargs'
import { DRIVER_NAMES, type DriverName } from '../mount/driver.js'
import { CONTAINER_OPTIONS, type ContainerArguments } from './container-options.js'
import type { PrefetchMode } from '../rootfs/prefetch.js'
import type { ExitStatus } from './exit-codes.js'

/** What the parser hands to a command; which fields are there follows from the command's own options. */
export interface CommandArguments extends ContainerArguments {
  readonly image: string
  /** Where a bundle is made. */
  readonly directory: string
  readonly configOnly: boolean
  readonly hooks: boolean
  /** Undefined: the first that is found. */
  readonly runtime: string | undefined
  readonly detach: boolean
  readonly name: string | undefined
  readonly purge: boolean
  readonly images: readonly string[]
  readonly mountpoint: string
  readonly paths: readonly string[]
  readonly cacheDir: string | undefined
  readonly cacheSize: string | undefined
  readonly driver: DriverName
  readonly platform: string | undefined
  readonly ref: string | undefined
  readonly verify: 'background' | 'before'
  readonly authfile: string | undefined
  readonly insecure: boolean
  readonly offline: boolean
  /** In seconds. */
  readonly registryTimeout: number
  readonly prefetch: PrefetchMode
  /** Undefined: as it was. */
  readonly pin: boolean | undefined
  readonly logLevel: 'silent' | 'error' | 'warn' | 'info' | 'debug'
  readonly json: boolean
  readonly quiet: boolean
  readonly foreground: boolean
  /** Undefined: read-only; empty: writes go to a place of ours that vanishes; else the directory. */
  readonly writable: string | undefined
  readonly allowOther: boolean
  readonly suid: boolean
  readonly dev: boolean
  readonly direct: boolean
  readonly o: readonly string[]
  readonly lazy: boolean
  readonly long: boolean
  readonly recursive: boolean
  readonly depth: number | undefined
  readonly report: boolean
  readonly referrers: boolean
  readonly artifactType: string | undefined
  readonly raw: 'manifest' | 'config' | undefined
  readonly maxSize: string | undefined
  readonly keep: boolean
}

/** One command. */
export interface CommandSpec {
  /** In the notation of yargs: name and positionals. */
  readonly usage: string
  readonly describe: string
  readonly options: Readonly<Record<string, Options>>
  readonly positionals: Readonly<
    Record<
      string,
      { readonly describe: string; readonly array?: true; readonly choices?: readonly string[] }
    >
  >
  readonly example: readonly [string, string]
  readonly load: () => Promise<{ run(args: CommandArguments): Promise<ExitStatus> }>
}

const IMAGE = {
  describe:
    'Archive, layout or directory; - for an archive on standard input; docker-archive:, oci-archive:, oci:, dir: and a path; or a name in a registry, [docker://]HOST/NAME[:TAG][@DIGEST]',
} as const

/** In the order of what they fetch. */
export const PREFETCH_MODES: readonly PrefetchMode[] = ['none', 'profile', 'all']

const json: Options = { type: 'boolean', default: false, describe: 'Print one JSON document' }
const quiet: Options = {
  type: 'boolean',
  alias: 'q',
  default: false,
  describe: 'Print results and errors only',
}

/** Options that every command has. */
export const GLOBAL_OPTIONS: Readonly<Record<string, Options>> = {
  'cache-dir': {
    type: 'string',
    requiresArg: true,
    describe: 'Directory of the cache [default: $OCIMOUNT_CACHE_DIR, $XDG_CACHE_HOME/ocimount]',
  },
  'cache-size': {
    type: 'string',
    requiresArg: true,
    describe:
      'What uncompressed layers may take in the cache, such as 500M or 20G [default: $OCIMOUNT_CACHE_SIZE]',
  },
  'log-level': {
    choices: ['silent', 'error', 'warn', 'info', 'debug'],
    default: 'warn',
    describe: 'What the log tells; debug also shows the causes of an error',
  },
}

const REGISTRY_OPTIONS: Readonly<Record<string, Options>> = {
  authfile: {
    type: 'string',
    requiresArg: true,
    describe: 'Credentials for registries, as podman login and docker login write them',
  },
  insecure: {
    type: 'boolean',
    default: false,
    describe: 'Take any certificate of a registry, and plain http',
  },
  offline: {
    type: 'boolean',
    default: false,
    describe: 'Ask no registry: what a name means and its layers come from the cache',
  },
  'registry-timeout': {
    type: 'number',
    default: 30,
    requiresArg: true,
    describe: 'Seconds after which a read fails that waits for a registry which sends nothing',
  },
}

const IMAGE_OPTIONS: Readonly<Record<string, Options>> = {
  ref: {
    type: 'string',
    requiresArg: true,
    describe: 'One image of several: its name, an image id or @N',
  },
  platform: {
    type: 'string',
    requiresArg: true,
    describe: 'OS/ARCH[/VARIANT] of a multi-platform image [default: this machine]',
  },
  verify: {
    choices: ['background', 'before'],
    default: 'background',
    describe: 'Hash uncompressed local layers behind the mount, or before it appears',
  },
  ...REGISTRY_OPTIONS,
}

const SERVER_OPTIONS: Readonly<Record<string, Options>> = {
  driver: {
    choices: ['auto', ...DRIVER_NAMES],
    default: 'auto',
    describe: 'What serves the mount; auto: the first that works',
  },
  prefetch: {
    choices: PREFETCH_MODES,
    default: 'profile',
    describe:
      'Of layers that are fetched as they are read, fetch nothing ahead, what earlier runs read first and the rest when it is quiet, or all at once',
  },
}

const CONTAINER_ARGS = {
  describe: 'Behind --: the command, in place of the image’s',
  array: true,
} as const

const MOUNT_OPTIONS: Readonly<Record<string, Options>> = {
  ...IMAGE_OPTIONS,
  ...SERVER_OPTIONS,
  foreground: {
    type: 'boolean',
    alias: 'f',
    default: false,
    describe: 'Stay in the foreground until unmounted',
  },
  writable: {
    type: 'string',
    describe: 'Stack a writable overlay; --writable=DIR keeps what is written in DIR',
  },
  'allow-other': {
    type: 'boolean',
    default: false,
    describe: 'Let other users in (root mounts do)',
  },
  direct: {
    type: 'boolean',
    default: false,
    describe:
      'Have the kernel read the archive itself, with no process left behind (driver kernel, uncompressed layers); the archive must not change while mounted',
  },
  suid: { type: 'boolean', default: false, describe: 'Honour setuid bits and file capabilities' },
  dev: { type: 'boolean', default: false, describe: 'Honour device nodes' },
  o: {
    type: 'string',
    array: true,
    nargs: 1,
    requiresArg: true,
    default: [],
    describe: 'Comma-separated mount options, as mount(8) passes them',
  },
  json,
  quiet,
}

/** Every command, in the order of the help text. The first is also what runs without a command's name. */
export const COMMANDS: readonly CommandSpec[] = [
  {
    usage: 'mount <image> <mountpoint>',
    describe: 'Mount an image as a root filesystem; returns when it is usable',
    options: MOUNT_OPTIONS,
    positionals: { image: IMAGE, mountpoint: { describe: 'An existing directory' } },
    example: ['$0 app.tar /mnt/app', 'Mount what docker save wrote'],
    load: () => import('./mount-command.js'),
  },
  {
    usage: 'run <image> [args..]',
    describe: 'Start a container from an image; gives its exit status',
    options: {
      ...IMAGE_OPTIONS,
      ...SERVER_OPTIONS,
      ...CONTAINER_OPTIONS,
      name: { type: 'string', requiresArg: true, describe: 'Id of the container' },
      detach: {
        type: 'boolean',
        alias: 'd',
        default: false,
        describe: 'Leave it running, and print its id',
      },
      runtime: {
        type: 'string',
        requiresArg: true,
        describe: 'OCI runtime [default: the first of crun and runc that is there]',
      },
      keep: {
        type: 'boolean',
        default: false,
        describe: 'Keep the bundle with what the container wrote, and tell where it is',
      },
      json,
      quiet,
    },
    positionals: { image: IMAGE, args: CONTAINER_ARGS },
    example: ['$0 run app.tar -- /bin/sh -c id', 'Everything is removed when it ends'],
    load: () => import('./run-command.js'),
  },
  {
    usage: 'bundle <image> <directory> [args..]',
    describe: 'Make a bundle for an OCI runtime: config.json, and the image mounted as rootfs',
    options: {
      ...IMAGE_OPTIONS,
      ...SERVER_OPTIONS,
      ...CONTAINER_OPTIONS,
      'config-only': {
        type: 'boolean',
        default: false,
        describe: 'Write config.json only; also --no-mount',
      },
      hooks: {
        type: 'boolean',
        default: false,
        describe: 'Unmount when the container has stopped, by a poststop hook',
      },
      json,
      quiet,
    },
    positionals: {
      image: IMAGE,
      directory: { describe: 'A directory to be made, or an empty one' },
      args: CONTAINER_ARGS,
    },
    example: ['$0 bundle app.tar b -- sh', 'For runc run -b b app'],
    load: () => import('./bundle-command.js'),
  },
  {
    usage: 'umount <mountpoint>',
    describe: 'Unmount',
    options: {
      purge: {
        type: 'boolean',
        default: false,
        describe: 'Remove the bundle too, with what was written',
      },
      lazy: {
        type: 'boolean',
        alias: 'l',
        default: false,
        describe: 'Detach now, clean up when no longer busy',
      },
      json,
      quiet,
    },
    positionals: { mountpoint: { describe: 'Where the image is mounted, or its bundle or id' } },
    example: ['$0 umount /mnt/app', 'Unmount; exit status 6 when it is busy'],
    load: () => import('./umount-command.js'),
  },
  {
    usage: 'list',
    describe: 'Show live mounts, and clean up after dead ones',
    options: { json },
    positionals: {},
    example: ['$0 list --json', 'Live mounts for a program'],
    load: () => import('./list-command.js'),
  },
  {
    usage: 'status [mountpoint]',
    describe: 'Show how a mount is doing: verification, errors, layers',
    options: { json },
    positionals: { mountpoint: { describe: 'One mount; all of them without it' } },
    example: ['$0 status /mnt/app', 'Is the image verified yet?'],
    load: () => import('./status-command.js'),
  },
  {
    usage: 'inspect <image>',
    describe: 'Show manifest, config, layers and what applying the layers altered',
    options: {
      ...IMAGE_OPTIONS,
      report: {
        type: 'boolean',
        default: false,
        describe: 'List everything that was dropped, replaced or repaired',
      },
      referrers: {
        type: 'boolean',
        default: false,
        describe: 'List what refers to it in its registry, such as signatures',
      },
      'artifact-type': {
        type: 'string',
        requiresArg: true,
        describe: 'Of what refers to it, list only this type',
      },
      raw: { choices: ['manifest', 'config'], describe: 'Print the document byte by byte' },
      json,
      quiet,
    },
    positionals: { image: IMAGE },
    example: ['$0 inspect app.tar --report', 'What is in it, and what did not fit a filesystem'],
    load: () => import('./inspect-command.js'),
  },
  {
    usage: 'ls <image> [paths..]',
    describe: 'List a directory of an image without mounting it',
    options: {
      ...IMAGE_OPTIONS,
      long: {
        type: 'boolean',
        alias: 'l',
        default: false,
        describe: 'Mode, owner, size, time and target',
      },
      recursive: { type: 'boolean', alias: 'R', default: false, describe: 'With everything below' },
      json,
      quiet,
    },
    positionals: { image: IMAGE, paths: { describe: 'Paths in the image', array: true } },
    example: ['$0 ls -l app.tar /etc', 'The image’s /etc'],
    load: () => import('./ls-command.js'),
  },
  {
    usage: 'cat <image> <paths..>',
    describe: 'Print files of an image',
    options: { ...IMAGE_OPTIONS, quiet },
    positionals: { image: IMAGE, paths: { describe: 'Paths in the image', array: true } },
    example: ['$0 cat app.tar /etc/os-release', 'One file, no mount'],
    load: () => import('./cat-command.js'),
  },
  {
    usage: 'tree <image> [paths..]',
    describe: 'Draw the tree of an image',
    options: {
      ...IMAGE_OPTIONS,
      depth: { type: 'number', alias: 'L', requiresArg: true, describe: 'Levels to show' },
      json,
      quiet,
    },
    positionals: { image: IMAGE, paths: { describe: 'Where to begin', array: true } },
    example: ['$0 tree -L 2 app.tar /usr', 'Two levels of /usr'],
    load: () => import('./tree-command.js'),
  },
  {
    usage: 'stat <image> <paths..>',
    describe: 'Show everything about files of an image',
    options: { ...IMAGE_OPTIONS, json, quiet },
    positionals: { image: IMAGE, paths: { describe: 'Paths in the image', array: true } },
    example: ['$0 stat app.tar /usr/bin/passwd', 'Mode, owner, times, links, xattrs'],
    load: () => import('./stat-command.js'),
  },
  {
    usage: 'validate <image>',
    describe: 'Check every document, digest and layer of an image, and report all findings',
    options: {
      ref: IMAGE_OPTIONS['ref'] ?? {},
      platform: IMAGE_OPTIONS['platform'] ?? {},
      ...REGISTRY_OPTIONS,
      json,
      quiet,
    },
    positionals: { image: IMAGE },
    example: ['$0 validate app.tar', 'Exit status 5: a digest is wrong; 3: other errors'],
    load: () => import('./validate-command.js'),
  },
  {
    usage: 'pull <images..>',
    describe: 'Fetch images from registries, so that they can be used offline',
    options: {
      platform: IMAGE_OPTIONS['platform'] ?? {},
      ...REGISTRY_OPTIONS,
      pin: {
        type: 'boolean',
        describe: 'Keep the images from being pruned; --no-pin gives them up',
      },
      json,
      quiet,
    },
    positionals: {
      images: { describe: 'Names in registries: [docker://]HOST/NAME[:TAG][@DIGEST]', array: true },
    },
    example: ['$0 pull registry.example.com/app:v1', 'Then mount it with --offline'],
    load: () => import('./pull-command.js'),
  },
  {
    usage: 'cache <action>',
    describe: 'Show, check or shrink the cache',
    options: {
      'max-size': {
        type: 'string',
        requiresArg: true,
        describe: 'prune: what may stay, such as 500M or 20G',
      },
      keep: {
        type: 'boolean',
        default: false,
        describe: 'verify: report bad entries, do not remove them',
      },
      json,
      quiet,
    },
    positionals: {
      action: {
        describe: 'du: sizes; verify: hash everything again; prune: remove',
        choices: ['du', 'verify', 'prune'],
      },
    },
    example: ['$0 cache prune --max-size 10G', 'Keep the 10 GB used last'],
    load: () => import('./cache-command.js'),
  },
]
