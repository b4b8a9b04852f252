// What a mount command asks for, as one plain value that can be sent to the serving process.

import { resolve } from 'node:path'
import { parseCacheSize } from '../cache/cache-size.js'
import { OcimountError } from '../errors.js'
import { quote } from '../image/quote.js'
import { candidateDrivers, DRIVER_NAMES, type DriverName } from '../mount/driver.js'
import { cacheOptions } from './cache-options.js'
import type { PrefetchMode } from '../rootfs/prefetch.js'
import { PREFETCH_MODES, type CommandArguments } from './commands.js'

/** Which image is meant, and how it is opened; JSON-safe, paths absolute. */
export interface ImageRequest {
  readonly image: string
  /** The caller's working directory: relative paths in `image` begin there. */
  readonly cwd: string
  readonly cacheDir: string | undefined
  /** Bytes that the uncompressed layers may take in the cache. */
  readonly maxDataBytes: number | undefined
  readonly platform: string | undefined
  readonly ref: string | undefined
  readonly verify: 'background' | 'before'
  readonly authfile: string | undefined
  readonly insecure: boolean
  readonly offline: boolean
  readonly registryTimeout: number
  readonly prefetch: PrefetchMode
  readonly logLevel: CommandArguments['logLevel']
}

/** Everything the serving process needs to know. */
export interface MountRequest extends ImageRequest {
  readonly mountpoint: string
  readonly driver: DriverName
  readonly writable: boolean
  /** Where the overlay keeps what is written; undefined for a place that vanishes with the mount. */
  readonly writableDir: string | undefined
  readonly allowOther: boolean
  readonly suid: boolean
  readonly dev: boolean
  readonly noexec: boolean
  /** The kernel reads the archive by itself, and no process stays. */
  readonly direct: boolean
}

/** What the options of every command that opens an image say of it. */
export function toImageRequest(args: CommandArguments, cwd: string): ImageRequest {
  return {
    image: args.image,
    cwd,
    cacheDir: args.cacheDir === undefined ? undefined : resolve(cwd, args.cacheDir),
    maxDataBytes: cacheOptions(args).maxDataBytes,
    platform: args.platform,
    ref: args.ref,
    verify: args.verify,
    authfile: args.authfile === undefined ? undefined : resolve(cwd, args.authfile),
    insecure: args.insecure,
    offline: args.offline,
    registryTimeout: args.registryTimeout,
    prefetch: args.prefetch,
    logLevel: args.logLevel,
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/**
 * Merges the command's options with those of `-o`.
 *
 * @throws OcimountError `USAGE` for an unknown or contradictory mount option, and for a driver that cannot do what is asked.
 */
export function toMountRequest(args: CommandArguments, cwd: string): MountRequest {
  const request: Mutable<MountRequest> = {
    ...toImageRequest(args, cwd),
    mountpoint: resolve(cwd, args.mountpoint),
    driver: args.driver,
    writable: args.writable !== undefined,
    writableDir: args.writable ? resolve(cwd, args.writable) : undefined,
    allowOther: args.allowOther,
    suid: args.suid,
    dev: args.dev,
    noexec: false,
    direct: args.direct,
  }
  for (const option of args.o.flatMap((list) => list.split(','))) {
    if (option !== '') applyMountOption(request, option)
  }
  candidateDrivers(request.driver, request.direct)
  return request
}

// `rw` is what mount(8) passes for want of another word, and mount.fuse3 adds `dev,suid` by itself; neither is
// a wish of the user. The rest speak to mount(8), to systemd or to nobody in particular.
const IGNORED = new Set([
  ...[
    'ro',
    'rw',
    'dev',
    'suid',
    'exec',
    'defaults',
    'async',
    'sync',
    'dirsync',
    'atime',
    'noatime',
    'relatime',
  ],
  ...[
    'norelatime',
    'diratime',
    'nodiratime',
    'strictatime',
    'lazytime',
    'nolazytime',
    'auto',
    'noauto',
    'user',
  ],
  ...[
    'nouser',
    'users',
    'owner',
    'group',
    'nofail',
    '_netdev',
    'remount',
    'silent',
    'loud',
    'mand',
    'nomand',
  ],
  ...['nodev', 'nosuid', 'default_permissions'],
])

const FLAGS: Readonly<Record<string, (request: Mutable<MountRequest>) => void>> = {
  noexec: (request) => (request.noexec = true),
  allow_other: (request) => (request.allowOther = true),
  writable: (request) => (request.writable = true),
  direct: (request) => (request.direct = true),
}

const VALUES: Readonly<Record<string, (request: Mutable<MountRequest>, value: string) => void>> = {
  driver: (request, value) =>
    (request.driver = oneOf('driver', value, ['auto', ...DRIVER_NAMES] as const)),
  verify: (request, value) =>
    (request.verify = oneOf('verify', value, ['background', 'before'] as const)),
  platform: (request, value) => (request.platform = value),
  ref: (request, value) => (request.ref = value),
  prefetch: (request, value) => (request.prefetch = oneOf('prefetch', value, PREFETCH_MODES)),
  registry_timeout: (request, value) => (request.registryTimeout = Number(value)),
  cache_dir: (request, value) => (request.cacheDir = resolve(request.cwd, value)),
  cache_size: (request, value) => (request.maxDataBytes = parseCacheSize(value, 'cache_size')),
  writable: (request, value) => {
    request.writable = true
    request.writableDir = resolve(request.cwd, value)
  },
  log_level: (request, value) =>
    (request.logLevel = oneOf('log_level', value, [
      'silent',
      'error',
      'warn',
      'info',
      'debug',
    ] as const)),
}

function applyMountOption(request: Mutable<MountRequest>, option: string): void {
  if (option.startsWith('x-') || option.startsWith('X-') || IGNORED.has(option)) return
  const equals = option.indexOf('=')
  const name = equals < 0 ? option : option.slice(0, equals)
  const apply = equals < 0 ? FLAGS[name] : undefined
  const applyValue = equals < 0 ? undefined : VALUES[name]
  if (applyValue !== undefined && equals === option.length - 1) {
    throw new OcimountError('USAGE', `Cannot use mount option ${name}: its value is empty`)
  }
  if (apply !== undefined) apply(request)
  else if (applyValue !== undefined) applyValue(request, option.slice(equals + 1))
  else if (name !== 'fsname' && name !== 'subtype') {
    throw new OcimountError('USAGE', `Cannot use mount option ${quote(option)}: it is not known`)
  }
}

function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((word) => word === value)
  if (found === undefined) {
    throw new OcimountError(
      'USAGE',
      `Cannot use mount option ${name}=${quote(value)}: it takes ${allowed.join(', ')}`,
    )
  }
  return found
}
