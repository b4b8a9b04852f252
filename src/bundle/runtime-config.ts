// What we write of a runtime's config.json (runtime-spec config.md, config-linux.md). Field names are the
// format's own; what we never write is not here.

import type { IdMapping } from '../mount/id-maps.js'

/** The version in which everything below exists; the oldest runtimes in use know it. */
export const OCI_VERSION = '1.0.2'

/** One `config.json`. */
export interface RuntimeConfig {
  readonly ociVersion: string
  readonly process: RuntimeProcess
  readonly root: RuntimeRoot
  readonly hostname?: string
  /** Made in this order. */
  readonly mounts: readonly RuntimeMount[]
  readonly hooks?: RuntimeHooks
  readonly annotations?: Readonly<Record<string, string>>
  readonly linux: RuntimeLinux
}

export interface RuntimeProcess {
  readonly terminal?: boolean
  readonly user: RuntimeUser
  readonly args: readonly string[]
  readonly env: readonly string[]
  readonly cwd: string
  readonly capabilities?: RuntimeCapabilities
  readonly rlimits?: readonly RuntimeRlimit[]
  readonly noNewPrivileges: boolean
}

export interface RuntimeUser {
  readonly uid: number
  readonly gid: number
  readonly umask?: number
  readonly additionalGids?: readonly number[]
}

/** Names with their `CAP_`. */
export interface RuntimeCapabilities {
  readonly bounding: readonly string[]
  readonly effective: readonly string[]
  readonly inheritable?: readonly string[]
  readonly permitted: readonly string[]
  readonly ambient?: readonly string[]
}

export interface RuntimeRlimit {
  readonly type: string
  readonly hard: number
  readonly soft: number
}

export interface RuntimeRoot {
  /** Relative to the bundle. */
  readonly path: string
  readonly readonly?: boolean
}

export interface RuntimeMount {
  /** Absolute, in the container. */
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options?: readonly string[]
}

export interface RuntimeHooks {
  readonly poststop: readonly RuntimeHook[]
}

export interface RuntimeHook {
  readonly path: string
  readonly args: readonly string[]
  readonly env: readonly string[]
  /** Seconds. */
  readonly timeout: number
}

export interface RuntimeLinux {
  readonly uidMappings?: readonly IdMapping[]
  readonly gidMappings?: readonly IdMapping[]
  readonly sysctl?: Readonly<Record<string, string>>
  readonly cgroupsPath?: string
  readonly resources?: RuntimeResources
  readonly namespaces: readonly RuntimeNamespace[]
  readonly seccomp?: RuntimeSeccomp
  readonly maskedPaths: readonly string[]
  readonly readonlyPaths: readonly string[]
}

export type NamespaceType = 'cgroup' | 'ipc' | 'mount' | 'network' | 'pid' | 'time' | 'user' | 'uts'

export interface RuntimeNamespace {
  readonly type: NamespaceType
}

export interface RuntimeResources {
  readonly devices?: readonly RuntimeDeviceRule[]
  /** `limit` in bytes. */
  readonly memory?: { readonly limit: number }
  /** Microseconds of processor time in each period of that many microseconds. */
  readonly cpu?: { readonly quota: number; readonly period: number }
  readonly pids?: { readonly limit: number }
}

export interface RuntimeDeviceRule {
  readonly allow: boolean
  readonly type?: 'a' | 'b' | 'c'
  readonly major?: number
  readonly minor?: number
  readonly access: string
}

export interface RuntimeSeccomp {
  readonly defaultAction: string
  readonly defaultErrnoRet?: number
  readonly architectures?: readonly string[]
  readonly flags?: readonly string[]
  readonly syscalls: readonly RuntimeSyscall[]
}

export interface RuntimeSyscall {
  readonly names: readonly string[]
  readonly action: string
  readonly errnoRet?: number
  readonly args?: readonly RuntimeSyscallArgument[]
}

export interface RuntimeSyscallArgument {
  readonly index: number
  readonly value: number
  readonly valueTwo?: number
  readonly op: string
}

/** Gives the bytes of `config.json`: the same for the same config, and readable. */
export function encodeRuntimeConfig(config: RuntimeConfig): Buffer {
  return Buffer.from(`${JSON.stringify(config, null, 2)}\n`, 'utf8')
}
