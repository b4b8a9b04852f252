// From an image's config to a runtime's (image-spec conversion.md; checklist group C).

import { OcimountError } from '../errors.js'
import { digestHex } from '../image/digest.js'
import type { ImageConfig } from '../image/image-config.js'
import { matchesPlatform } from '../image/platform-choice.js'
import { formatPlatform } from '../image/platform.js'
import { quote } from '../image/quote.js'
import { containerAnnotations } from './annotations.js'
import { processCapabilities } from './capabilities.js'
import { containerArgs } from './command.js'
import type { Conversion, ConversionInput, MountPoint } from './conversion.js'
import { containerEnv } from './environment.js'
import { isolationOf, runtimeUser, type Isolation } from './isolation.js'
import { planMounts } from './mounts.js'
import { ETC_FILES } from './mount-points.js'
import type { HostFacts } from './options.js'
import { PROFILES } from './profiles.js'
import type { Profile } from './profiles/profile.js'
import { containerResources } from './resources.js'
import {
  OCI_VERSION,
  type RuntimeConfig,
  type RuntimeHooks,
  type RuntimeLinux,
  type RuntimeProcess,
  type RuntimeUser,
} from './runtime-config.js'
import { translateSeccomp } from './seccomp.js'
import { resolveUser, type ContainerUser } from './user.js'
import { workingDirectory, type WorkingDirectory } from './working-directory.js'

/**
 * Makes the runtime config of an image.
 *
 * The same input gives the same output. What the image asks for and cannot have is a warning where the container can do
 * without it, else an error.
 *
 * @throws OcimountError `IMAGE_INVALID` for what the image's config gets wrong, `IMAGE_UNSUPPORTED` for another
 *   operating system (and with `mustStart` for another processor), `USER_NOT_FOUND`, `USAGE` for options that make no sense
 *   together or, with `mustStart`, no command; what reading `/etc/passwd` and `/etc/group` throws
 */
export async function convertConfig(input: ConversionInput): Promise<Conversion> {
  const { image, options, host } = input
  const { config } = image
  const warnings: string[] = []
  const warn = (text: string): void => {
    warnings.push(text)
  }
  checkPlatform(config, { host, mustStart: options.mustStart ?? false, warn })
  const profile = PROFILES[options.profile ?? 'default']
  const id = options.id ?? digestHex(image.configDigest)
  const hostname = options.hostname ?? profile.hostname(id)
  const isolation = isolationOf(profile, options, host)
  const user = await findUser(input)
  const directory = findDirectory(input, warn)
  const plan = planMounts(input, profile, { isolation, hostname })
  const process = makeProcess(input, profile, {
    ...{ hostname, user, directory, warn },
    runtimeUser: runtimeUser(user, isolation, warn),
  })
  const annotations = containerAnnotations(config, options, warn)
  const runtimeConfig: RuntimeConfig = {
    ociVersion: OCI_VERSION,
    process,
    root: { path: 'rootfs', ...(options.readOnly === true ? { readonly: true } : {}) },
    ...(hostname === undefined ? {} : { hostname }),
    mounts: plan.mounts,
    ...(options.poststop === undefined ? {} : { hooks: poststopHooks(options.poststop) }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    linux: makeLinux(input, profile, {
      ...{ id, isolation },
      bounding: process.capabilities?.bounding ?? [],
    }),
  }
  const mountPoints = [...plan.mountPoints, ...sparePoints(plan.mountPoints), cwdPoint(directory)]
  return { config: runtimeConfig, warnings, files: plan.files, mountPoints }
}

function checkPlatform(
  config: ImageConfig,
  options: { host: HostFacts; mustStart: boolean; warn: (text: string) => void },
): void {
  const { os = '', architecture = '' } = config
  if (os !== '' && os.toLowerCase() !== 'linux') {
    throw new OcimountError(
      'IMAGE_UNSUPPORTED',
      `Cannot make a container of the image: it is for ${quote(os)}, not for Linux`,
    )
  }
  // What an image does not say was warned about when its config was read.
  if (architecture === '') return
  const variant = config.variant === undefined ? {} : { variant: config.variant }
  const platform = { os: 'linux', architecture, ...variant }
  if (matchesPlatform(platform, options.host.platform)) return
  const why = `it is for ${formatPlatform(platform)}, and this machine is ${formatPlatform(options.host.platform)}`
  if (options.mustStart) {
    throw new OcimountError('IMAGE_UNSUPPORTED', `Cannot start the image: ${why}`)
  }
  options.warn(`the image does not run here: ${why}`)
}

async function findUser({ image, options, tree }: ConversionInput): Promise<ContainerUser> {
  return options.user === undefined
    ? resolveUser(tree, image.config.config.User ?? '', 'image')
    : resolveUser(tree, options.user, 'option')
}

function findDirectory(
  { image, options }: ConversionInput,
  warn: (text: string) => void,
): WorkingDirectory {
  return options.workdir === undefined
    ? workingDirectory(image.config.config.WorkingDir ?? '', 'image', warn)
    : workingDirectory(options.workdir, 'option', warn)
}

interface ProcessParts {
  readonly hostname: string | undefined
  readonly user: ContainerUser
  readonly runtimeUser: RuntimeUser
  readonly directory: WorkingDirectory
  readonly warn: (text: string) => void
}

function makeProcess(
  { image, options }: ConversionInput,
  profile: Profile,
  parts: ProcessParts,
): RuntimeProcess {
  const { config } = image.config
  const terminal = options.tty ?? profile.terminal
  const env = options.env ?? []
  const defaults = profile.env({
    ...{ hostname: parts.hostname, isTerminal: terminal, home: parts.user.home },
    hasEnv: config.Env.length + env.length > 0,
  })
  const { umask } = profile
  return {
    terminal,
    user: umask === undefined ? parts.runtimeUser : { ...parts.runtimeUser, umask },
    args: containerArgs(config, options, parts.warn),
    env: containerEnv({ image: config.Env, options: env, defaults }),
    cwd: parts.directory.cwd,
    capabilities: processCapabilities(profile, {
      uid: parts.user.uid,
      add: options.capAdd,
      drop: options.capDrop,
    }),
    ...(profile.rlimits.length === 0 ? {} : { rlimits: profile.rlimits }),
    noNewPrivileges: profile.noNewPrivileges,
  }
}

function makeLinux(
  { options, host }: ConversionInput,
  profile: Profile,
  parts: { id: string; isolation: Isolation; bounding: readonly string[] },
): RuntimeLinux {
  const { isolation, bounding } = parts
  const { uidMappings, gidMappings, isRootless, isNetworkHost } = isolation
  const resources = containerResources(profile, options, isRootless)
  const seccomp = options.seccomp ?? (profile.hasSeccomp ? host.seccomp : 'none') ?? 'none'
  const isConfined = uidMappings !== undefined || isRootless || isNetworkHost
  const { sysctl, cgroupsPath } = profile
  return {
    ...(uidMappings === undefined ? {} : { uidMappings }),
    ...(gidMappings === undefined ? {} : { gidMappings }),
    ...(sysctl === undefined || isConfined ? {} : { sysctl }),
    ...(cgroupsPath === undefined || isRootless ? {} : { cgroupsPath: cgroupsPath(parts.id) }),
    ...(resources === undefined ? {} : { resources }),
    namespaces: isolation.namespaces.map((type) => ({ type })),
    ...(seccomp === 'none'
      ? {}
      : {
          seccomp: translateSeccomp(seccomp, {
            ...{ capabilities: bounding, kernel: host.kernel },
            architecture: host.platform.architecture,
          }),
        }),
    maskedPaths: [
      ...profile.maskedPaths,
      ...(profile.isThermalMasked ? host.thermalThrottlePaths : []),
    ],
    readonlyPaths: profile.readonlyPaths,
  }
}

/** Environment of a hook: programs that are scripts look for their interpreter. */
const HOOK_ENV = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin']
const HOOK_TIMEOUT = 30

function poststopHooks(args: readonly [string, ...string[]]): RuntimeHooks {
  return { poststop: [{ path: args[0], args, env: HOOK_ENV, timeout: HOOK_TIMEOUT }] }
}

function sparePoints(mounted: readonly MountPoint[]): MountPoint[] {
  return ETC_FILES.filter((path) => !mounted.some((point) => point.path === path)).map((path) => ({
    ...{ path, isFile: true, role: 'etc-spare', origin: 'image' },
  }))
}

function cwdPoint({ path, origin }: WorkingDirectory): MountPoint {
  return { path, isFile: false, role: 'cwd', origin }
}
