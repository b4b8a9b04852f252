// What a caller can ask of a conversion, in parsed form (mount-options.ts and its neighbours parse command lines),
// and the facts about the machine that it depends on (host-facts.ts finds them out).

import type { Platform } from '../image/platform.js'
import type { IdMapping } from '../mount/id-maps.js'
import type { RuntimeMount } from './runtime-config.js'
import type { SeccompProfile } from './seccomp.js'

export const PROFILE_NAMES = ['default', 'runc', 'umoci', 'containerd', 'docker', 'podman'] as const
export type ProfileName = (typeof PROFILE_NAMES)[number]

/** All optional: what is left out is as the image and the profile say. */
export interface BundleOptions {
  /** Whose defaults are used; `default` are our own. */
  readonly profile?: ProfileName | undefined
  /** Refuses what would not start here and what a bundle only warns about: no command, another processor. */
  readonly mustStart?: boolean | undefined
  /** Names the container where a profile does that (host name, cgroup); default the image id. */
  readonly id?: string | undefined
  /** What followed `--`: replaces the image's Cmd. Empty is the same as left out. */
  readonly args?: readonly string[] | undefined
  /** Replaces the image's Entrypoint and drops its Cmd; an empty one stands for none. */
  readonly entrypoint?: readonly string[] | undefined
  /** Each `NAME=value`; they win over the image's. */
  readonly env?: readonly string[] | undefined
  /** In the form of the image config's `User`. */
  readonly user?: string | undefined
  readonly workdir?: string | undefined
  readonly hostname?: string | undefined
  /** They replace a mount of the profile or a volume of the image at the same destination. */
  readonly mounts?: readonly RequestedMount[] | undefined
  /** Default `tmpfs`, except where the profile's tool mounts none: with a copy of what the image has there. */
  readonly volumes?: 'tmpfs' | 'ignore' | undefined
  /** They win over the image's labels, and none is dropped. */
  readonly annotations?: ReadonlyMap<string, string> | undefined
  /** Keeps labels that a runtime would act upon (checklist C-020). */
  readonly allLabels?: boolean | undefined
  /** With `CAP_`, or `ALL`. */
  readonly capAdd?: readonly string[] | undefined
  readonly capDrop?: readonly string[] | undefined
  /** Default `none`: a network namespace with nothing but a loopback device. */
  readonly network?: 'none' | 'host' | undefined
  /** Default: the machine's, in the profiles `default`, `docker` and `podman`. */
  readonly seccomp?: SeccompProfile | 'none' | undefined
  /** Bytes. */
  readonly memory?: number | undefined
  /** Processors; 1.5 is one and a half. */
  readonly cpus?: number | undefined
  readonly pidsLimit?: number | undefined
  /** Both or neither; they ask for a user namespace. */
  readonly uidMap?: readonly IdMapping[] | undefined
  readonly gidMap?: readonly IdMapping[] | undefined
  /**
   * For a runtime without the rights of root: `new` lets it make a user namespace in which its own user is root,
   * `current` is for one that is started in a user namespace made before.
   */
  readonly rootless?: 'new' | 'current' | undefined
  /** No overlay is stacked on the image. */
  readonly readOnly?: boolean | undefined
  readonly tty?: boolean | undefined
  /** Absolute path of a program and its arguments, run when the container has stopped. */
  readonly poststop?: readonly [string, ...string[]] | undefined
}

export interface RequestedMount extends RuntimeMount {
  /** Whether the mount point has to be a file: whether the source of a bind mount is one. */
  readonly isFile: boolean
}

/** What is so on this machine; data, so that the same facts give the same config. */
export interface HostFacts {
  readonly platform: Platform
  /** Of the runtime's process, which becomes root of a new user namespace. */
  readonly uid: number
  readonly gid: number
  /** Ids that exist in the user namespace of the runtime; undefined where all do, as outside of any. */
  readonly uidMap: readonly IdMapping[] | undefined
  readonly gidMap: readonly IdMapping[] | undefined
  /** Whether setgroups(2) is denied in that namespace. */
  readonly isSetgroupsDenied: boolean
  /** Version 2 alone, not a hybrid; then a container has a cgroup namespace. */
  readonly isCgroupV2: boolean
  /** Whether kernel and runtime know time namespaces. */
  readonly hasTimeNamespaces: boolean
  /** The directory `thermal_throttle` of each processor under `/sys/devices/system/cpu`, as far as they exist. */
  readonly thermalThrottlePaths: readonly string[]
  /** Files of {@link HOST_NETWORK_FILES} that exist, with the flags of their mounts that a user namespace locks. */
  readonly networkFiles: ReadonlyMap<string, readonly string[]>
  /** Major and minor version of the kernel. */
  readonly kernel: readonly [number, number]
  /** The machine's seccomp profile, where there is one. */
  readonly seccomp: SeccompProfile | undefined
}

/** What a container in the host's network sees of the host. */
export const HOST_NETWORK_FILES = ['/etc/resolv.conf', '/etc/hosts'] as const
