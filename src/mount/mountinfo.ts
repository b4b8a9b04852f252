// The kernel's list of mounts, proc_pid_mountinfo(5), one a line:
//
//   36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//   id parent dev root mountpoint options tags… - type source superOptions
//
// Reading it touches no filesystem, so the serving process may, and a mount whose server is dead or stuck is
// listed like any other.

import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'

/** The filesystem type that the kernel shows for a mount of ours. */
export const FUSE_TYPE = 'fuse.ocimount'
/** What the source of an overlay of ours begins with. */
export const OVERLAY_SOURCE = 'ocimount'
/** What the last part of the source of an EROFS mount of ours begins with; see kernel-driver.ts. */
export const EROFS_SOURCE = 'ocimount:'

/** One mount, escapes resolved. Paths that are not UTF-8 hold U+FFFD and equal no path of ours. */
export interface MountEntry {
  readonly mountId: number
  readonly parentId: number
  /** `major:minor`, the `st_dev` of the filesystem. */
  readonly device: string
  /** The directory of the filesystem that is mounted. */
  readonly root: string
  readonly mountpoint: string
  readonly options: readonly string[]
  readonly fsType: string
  readonly source: string
  /** As the kernel gives it: the filesystem escapes its own values. */
  readonly superOptions: string
}

/** Parses a mountinfo file; lines of another form are left out. */
export function parseMountinfo(bytes: Buffer): MountEntry[] {
  const entries: MountEntry[] = []
  for (const line of bytes.toString('latin1').split('\n')) {
    const fields = line.split(' ')
    const separator = fields.indexOf('-', 6)
    const [mountId = '', parentId = '', device = '', root = '', mountpoint = '', options = ''] =
      fields
    const [fsType, source, superOptions] = fields.slice(separator + 1)
    if (separator < 0 || fsType === undefined || source === undefined) continue
    entries.push({
      mountId: Number(mountId),
      parentId: Number(parentId),
      device,
      root: unescapeField(root),
      mountpoint: unescapeField(mountpoint),
      options: options.split(','),
      fsType: unescapeField(fsType),
      source: unescapeField(source),
      superOptions: unescapeField(superOptions ?? ''),
    })
  }
  return entries
}

/** Reads the mounts of this process's mount namespace. */
export async function readMountinfo(): Promise<MountEntry[]> {
  return parseMountinfo(await readFile('/proc/self/mountinfo'))
}

/** Gives the mount that is seen at a path, which must be canonical: of several on top of each other the last. */
export function mountAt(entries: readonly MountEntry[], path: string): MountEntry | undefined {
  const here = entries.filter((entry) => entry.mountpoint === path)
  const covered = new Set(here.map((entry) => entry.parentId))
  // Two mounts at the same path are stacked: the parent of the upper one is the lower one.
  return here.findLast((entry) => !covered.has(entry.mountId)) ?? here.at(-1)
}

/** Tells whether a mount was made by ocimount. */
export function isOurMount(entry: MountEntry): boolean {
  switch (entry.fsType) {
    case FUSE_TYPE:
      return true
    case 'erofs':
      return basename(entry.source).startsWith(EROFS_SOURCE)
    case 'overlay':
      return entry.source.startsWith(OVERLAY_SOURCE)
    default:
      return false
  }
}

/** The kernel writes space, tab, newline, backslash and `#` as a backslash and three octal digits. */
function unescapeField(field: string): string {
  const raw = field.includes('\\')
    ? field.replace(/\\([0-3][0-7]{2})/g, (_, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      )
    : field
  return Buffer.from(raw, 'latin1').toString('utf8')
}
