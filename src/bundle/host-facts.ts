// Finds out what a conversion has to know of this machine. The only file of the conversion that looks at it.

import { createReadStream } from 'node:fs'
import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { release } from 'node:os'
import { resolve } from 'node:path'
import { escapeText } from '../byte-string.js'
import { isOcimountError, messageOf, OcimountError, systemErrorCode } from '../errors.js'
import { hostPlatform } from '../image/platform.js'
import { readMountinfo, type MountEntry } from '../mount/mountinfo.js'
import { isAtOrBelow } from './container-path.js'
import { parseEnvFile } from './option-values.js'
import { HOST_NETWORK_FILES, type HostFacts, type RequestedMount } from './options.js'
import type { IdMapping } from '../mount/id-maps.js'
import type { RuntimeMount } from './runtime-config.js'
import { parseSeccompProfile, type SeccompProfile } from './seccomp-profile.js'

/** Where containers-common puts the profile of a machine. */
export const MACHINE_SECCOMP_PROFILE = '/usr/share/containers/seccomp.json'
/** More than the kernel lets a program have of arguments and variables, and than any profile takes. */
const MAX_NAMED_BYTES = 16 << 20

/**
 * Reads the facts.
 *
 * @param options `runtimeNamespaces` are those that the runtime knows, as `runc features` lists them; without it a time
 *   namespace is not counted on
 * @throws OcimountError `USAGE` where the machine's seccomp profile is not one
 */
export async function readHostFacts(
  options: { readonly runtimeNamespaces?: readonly string[] | undefined } = {},
): Promise<HostFacts> {
  const [uidMap, gidMap, setgroups, isCgroupV2, thermalThrottlePaths, networkFiles, seccomp] =
    await Promise.all([
      readIdMap('/proc/self/uid_map'),
      readIdMap('/proc/self/gid_map'),
      readText('/proc/self/setgroups'),
      exists('/sys/fs/cgroup/cgroup.controllers'),
      findThermalThrottle(),
      findNetworkFiles(),
      readMachineSeccomp(),
    ])
  const [major = 0, minor = 0] = release().split('.').map(Number)
  return {
    platform: hostPlatform(),
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    uidMap,
    gidMap,
    isSetgroupsDenied: setgroups?.trim() === 'deny',
    isCgroupV2,
    hasTimeNamespaces:
      (options.runtimeNamespaces?.includes('time') ?? false) &&
      (await exists('/proc/self/ns/time')),
    thermalThrottlePaths,
    networkFiles,
    kernel: [major, minor],
    seccomp,
  }
}

/**
 * Reads the seccomp profile that a caller names.
 *
 * @throws OcimountError `FILE_NOT_FOUND`, `USAGE` where it is not one
 */
export async function readSeccompProfile(path: string): Promise<SeccompProfile> {
  try {
    return parseSeccompProfile(await readNamed(path), escapeText(path))
  } catch (error) {
    if (isOcimountError(error)) throw error
    throw fileNotFound('read seccomp profile', path, error)
  }
}

/**
 * Reads files of environment variables, in their order, with the caller's own environment for names alone.
 *
 * @throws OcimountError `FILE_NOT_FOUND`, `USAGE` of {@link parseEnvFile}, and for one that is too large
 */
export async function readEnvFiles(paths: readonly string[]): Promise<string[]> {
  const entries: string[] = []
  for (const path of paths) {
    try {
      entries.push(...parseEnvFile(await readNamed(path), escapeText(path), process.env))
    } catch (error) {
      if (isOcimountError(error)) throw error
      throw fileNotFound('read environment file', path, error)
    }
  }
  return entries
}

/** Reads what a caller names, a pipe as well; a device may never end. */
async function readNamed(path: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_NAMED_BYTES) {
      const why = `it is larger than ${MAX_NAMED_BYTES >> 20} MiB`
      throw new OcimountError('USAGE', `Cannot use ${escapeText(path)}: ${why}`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/**
 * Makes the sources of bind mounts absolute, from the working directory, and finds out which are files.
 *
 * @throws OcimountError `FILE_NOT_FOUND` for a source that is not there
 */
export async function locateMounts(mounts: readonly RuntimeMount[]): Promise<RequestedMount[]> {
  return Promise.all(
    mounts.map(async (mount) => {
      if (mount.type !== 'bind') return { ...mount, isFile: false }
      const source = resolve(mount.source)
      try {
        return { ...mount, source, isFile: !(await stat(source)).isDirectory() }
      } catch (error) {
        throw fileNotFound('mount', mount.source, error)
      }
    }),
  )
}

function fileNotFound(action: string, path: string, cause: unknown): OcimountError {
  const code = systemErrorCode(cause)
  const why = code === 'ENOENT' ? 'there is no such file' : escapeText(messageOf(cause))
  const message = `Cannot ${action} ${escapeText(path)}: ${why}`
  return new OcimountError('FILE_NOT_FOUND', message, { cause })
}

/** Undefined for the map of the initial namespace, in which everything exists. */
async function readIdMap(path: string): Promise<readonly IdMapping[] | undefined> {
  const lines = ((await readText(path)) ?? '').split('\n').filter((line) => line.trim() !== '')
  const mappings = lines.map((line) => {
    const [containerID = 0, hostID = 0, size = 0] = line.trim().split(/\s+/).map(Number)
    return { containerID, hostID, size }
  })
  return mappings.some(({ size }) => size === 2 ** 32 - 1) ? undefined : mappings
}

async function findThermalThrottle(): Promise<string[]> {
  const root = '/sys/devices/system/cpu'
  const names = await readdir(root).catch(() => [])
  const numbers = names
    .flatMap((name) => /^cpu([0-9]+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b)
  const paths = numbers.map((number) => `${root}/cpu${number}/thermal_throttle`)
  const found = await Promise.all(paths.map(exists))
  return paths.filter((_, index) => found[index])
}

async function findNetworkFiles(): Promise<ReadonlyMap<string, readonly string[]>> {
  const mounts = await readMountinfo()
  const found = new Map<string, readonly string[]>()
  for (const path of HOST_NETWORK_FILES) {
    try {
      found.set(path, lockedFlags(mounts, await realpath(path)))
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error
    }
  }
  return found
}

/** The flags of the mount that a file is on which a mount in a user namespace must keep (mount_namespaces(7)). */
function lockedFlags(mounts: readonly MountEntry[], path: string): string[] {
  const holder = mounts
    .filter(({ mountpoint }) => isAtOrBelow(path, mountpoint))
    .reduce<MountEntry | undefined>(
      (best, mount) =>
        best === undefined || mount.mountpoint.length >= best.mountpoint.length ? mount : best,
      undefined,
    )
  return ['nosuid', 'nodev', 'noexec'].filter((flag) => holder?.options.includes(flag))
}

async function readMachineSeccomp(): Promise<SeccompProfile | undefined> {
  const text = await readText(MACHINE_SECCOMP_PROFILE)
  return text === undefined
    ? undefined
    : parseSeccompProfile(Buffer.from(text, 'utf8'), MACHINE_SECCOMP_PROFILE)
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
