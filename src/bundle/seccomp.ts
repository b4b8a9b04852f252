// From a seccomp profile with conditions to the filter of one container (runtime-spec config-linux.md "Seccomp").

import type { RuntimeSeccomp, RuntimeSyscall } from './runtime-config.js'
import type { SeccompCondition, SeccompProfile, SeccompRule } from './seccomp-profile.js'

export type { SeccompProfile } from './seccomp-profile.js'

/** What the conditions of a profile are about. */
export interface SeccompContext {
  /** The bounding set. */
  readonly capabilities: readonly string[]
  /** GOARCH. */
  readonly architecture: string
  readonly kernel: readonly [number, number]
}

/** Keeps the rules whose conditions hold, in their order, as containers-common does. */
export function translateSeccomp(profile: SeccompProfile, context: SeccompContext): RuntimeSeccomp {
  const architectures = architecturesOf(profile, context.architecture)
  const { defaultAction, defaultErrnoRet, flags } = profile
  return {
    defaultAction,
    ...(defaultErrnoRet === undefined ? {} : { defaultErrnoRet }),
    ...(architectures.length === 0 ? {} : { architectures }),
    ...(flags.length === 0 ? {} : { flags }),
    syscalls: profile.syscalls
      .filter((rule) => isIncluded(rule.includes, context) && !isExcluded(rule.excludes, context))
      .map(syscallOf),
  }
}

function architecturesOf(profile: SeccompProfile, architecture: string): readonly string[] {
  if (profile.archMap.length === 0) return profile.architectures
  const native = SECCOMP_ARCHITECTURES.get(architecture)
  const found = profile.archMap.find((entry) => entry.architecture === native)
  return found === undefined ? [] : [found.architecture, ...found.subArchitectures]
}

/** Every condition must hold: all capabilities, one of the architectures. */
function isIncluded(
  { caps, arches, minKernel }: SeccompCondition,
  context: SeccompContext,
): boolean {
  return (
    (arches.length === 0 || arches.includes(context.architecture)) &&
    caps.every((name) => context.capabilities.includes(name)) &&
    (minKernel === undefined || isAtLeast(context.kernel, minKernel))
  )
}

/** One condition is enough. */
function isExcluded(
  { caps, arches, minKernel }: SeccompCondition,
  context: SeccompContext,
): boolean {
  return (
    arches.includes(context.architecture) ||
    caps.some((name) => context.capabilities.includes(name)) ||
    (minKernel !== undefined && isAtLeast(context.kernel, minKernel))
  )
}

function isAtLeast(kernel: readonly [number, number], wanted: readonly [number, number]): boolean {
  return kernel[0] > wanted[0] || (kernel[0] === wanted[0] && kernel[1] >= wanted[1])
}

function syscallOf({ names, action, errnoRet, args }: SeccompRule): RuntimeSyscall {
  return {
    names,
    action,
    ...(errnoRet === undefined ? {} : { errnoRet }),
    ...(args.length === 0 ? {} : { args }),
  }
}

/** libseccomp's names by GOARCH. */
const SECCOMP_ARCHITECTURES: ReadonlyMap<string, string> = new Map([
  ['386', 'SCMP_ARCH_X86'],
  ['amd64', 'SCMP_ARCH_X86_64'],
  ['arm', 'SCMP_ARCH_ARM'],
  ['arm64', 'SCMP_ARCH_AARCH64'],
  ['loong64', 'SCMP_ARCH_LOONGARCH64'],
  ['mips', 'SCMP_ARCH_MIPS'],
  ['mips64', 'SCMP_ARCH_MIPS64'],
  ['mips64le', 'SCMP_ARCH_MIPSEL64'],
  ['mipsle', 'SCMP_ARCH_MIPSEL'],
  ['ppc64le', 'SCMP_ARCH_PPC64LE'],
  ['riscv64', 'SCMP_ARCH_RISCV64'],
  ['s390x', 'SCMP_ARCH_S390X'],
])
