// What the profiles are made of: the defaults that a tool adds to what an image says (checklist C.5).

import type { HostFacts } from '../options.js'
import type {
  NamespaceType,
  RuntimeDeviceRule,
  RuntimeMount,
  RuntimeRlimit,
} from '../runtime-config.js'

/** What default variables depend on. */
export interface ProfileContext {
  readonly hostname: string | undefined
  readonly isTerminal: boolean
  /** Whether image or caller set any variable. */
  readonly hasEnv: boolean
  /** Of the user, from the image's passwd; undefined where that has none. */
  readonly home: string | undefined
}

export interface Profile {
  readonly terminal: boolean
  readonly noNewPrivileges: boolean
  readonly rlimits: readonly RuntimeRlimit[]
  readonly umask?: number
  /** Names in the tool's own order. */
  readonly capabilities: readonly string[]
  /** Whether the capabilities are in the inheritable and ambient sets too. */
  readonly areInherited: boolean
  /** Whether a user other than root keeps them in the bounding set alone. */
  readonly areForRoot: boolean
  readonly hostname: (id: string) => string | undefined
  /** `NAME=value`; those whose name is set already do not count. */
  readonly env: (context: ProfileContext) => readonly string[]
  readonly mounts: readonly RuntimeMount[]
  /** Of generated files that are mounted over those of /etc; undefined where the tool mounts none. */
  readonly etcMountOptions?: readonly string[]
  readonly volumes: 'empty-tmpfs' | 'tmpfs' | 'ignore'
  readonly maskedPaths: readonly string[]
  /** Whether each processor's thermal_throttle is masked too. */
  readonly isThermalMasked: boolean
  readonly readonlyPaths: readonly string[]
  readonly namespaces: (host: HostFacts) => readonly NamespaceType[]
  readonly deviceRules: readonly RuntimeDeviceRule[]
  readonly pidsLimit?: number
  readonly sysctl?: Readonly<Record<string, string>>
  readonly cgroupsPath?: (id: string) => string
  readonly hasSeccomp: boolean
  /**
   * Where /sys cannot be mounted and the machine's is bound in its place: `keep` leaves the mounts below it, `drop` leaves them
   * out, `last` does so and binds it behind all others.
   */
  readonly boundSys: 'keep' | 'drop' | 'last'
  /** Whether a container without the rights of root stays in the host's network unless asked otherwise. */
  readonly isRootlessNetworkHost: boolean
}

export const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
export const DEFAULT_TERM = 'TERM=xterm'

/** The usual one. */
export const DENY_ALL: RuntimeDeviceRule = { allow: false, access: 'rwm' }

export const NOFILE_1024: RuntimeRlimit = { type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }

/** With the control group namespace where the machine has version 2. */
export function withCgroupNamespace(
  namespaces: readonly NamespaceType[],
): (host: HostFacts) => readonly NamespaceType[] {
  return ({ isCgroupV2 }) => [...namespaces, ...(isCgroupV2 ? (['cgroup'] as const) : [])]
}

/** The first twelve digits of an id, as Docker shows it. */
export function shortId(id: string): string {
  return id.slice(0, 12)
}
