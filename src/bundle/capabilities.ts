// Capabilities by name, and what --cap-add and --cap-drop make of a profile's.

import { OcimountError } from '../errors.js'
import { quote } from '../image/quote.js'
import type { RuntimeCapabilities } from './runtime-config.js'
import type { Profile } from './profiles/profile.js'

/** What stands for all of them. */
export const ALL_CAPABILITIES = 'ALL'

/** All that Linux has, by number (capabilities(7)). */
export const CAPABILITIES: readonly string[] =
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
    .split(' ')
    .map((name) => `CAP_${name}`)

/**
 * Takes a capability as people write it, in any case and with or without `CAP_`, or `ALL`.
 *
 * @throws OcimountError `USAGE`
 */
export function parseCapability(text: string): string {
  const upper = text.toUpperCase()
  if (upper === ALL_CAPABILITIES) return ALL_CAPABILITIES
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`
  if (CAPABILITIES.includes(name)) return name
  throw new OcimountError(
    'USAGE',
    `Cannot use capability ${quote(text)}: there is none of that name`,
  )
}

/**
 * Gives the capabilities of a process, as `podman run` does: dropping `ALL` leaves those that are added, adding `ALL`
 * takes away those that are dropped.
 *
 * The inheritable and ambient sets stay empty (CVE-2022-24769), except that a user other than root gets what was added
 * explicitly, which could not reach the program otherwise.
 *
 * @throws OcimountError `USAGE` for one that is both added and dropped
 */
export function processCapabilities(
  profile: Profile,
  options: {
    readonly uid: number
    readonly add?: readonly string[] | undefined
    readonly drop?: readonly string[] | undefined
  },
): RuntimeCapabilities {
  const add = options.add ?? []
  const bounding = mergeCapabilities(profile.capabilities, add, options.drop ?? [])
  if (profile.areInherited) {
    return {
      bounding,
      effective: bounding,
      inheritable: bounding,
      permitted: bounding,
      ambient: bounding,
    }
  }
  if (!profile.areForRoot || options.uid === 0) {
    return { bounding, effective: bounding, permitted: bounding }
  }
  const added = bounding.filter((name) => add.includes(ALL_CAPABILITIES) || add.includes(name))
  if (added.length === 0) return { bounding, effective: [], permitted: [] }
  return { bounding, effective: added, inheritable: added, permitted: added, ambient: added }
}

function mergeCapabilities(
  defaults: readonly string[],
  add: readonly string[],
  drop: readonly string[],
): readonly string[] {
  const both = add.find((name) => drop.includes(name))
  if (both !== undefined) {
    throw new OcimountError('USAGE', `Cannot use capability ${both}: it is both added and dropped`)
  }
  const start = add.includes(ALL_CAPABILITIES)
    ? CAPABILITIES
    : drop.includes(ALL_CAPABILITIES)
      ? []
      : defaults
  const added = CAPABILITIES.filter((name) => add.includes(name) && !start.includes(name))
  return [...start, ...added].filter((name) => !drop.includes(name))
}
