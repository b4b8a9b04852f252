// Which mount points a tree lacks, as one layer of directories and empty files on top of it (checklist C-081 to C-083,
// C-101, S-25). A runtime makes what is missing by itself, and cannot on a root that is read-only.

import { createHash } from 'node:crypto'
import { byteStringOf, escapeName, type ByteString } from '../byte-string.js'
import { S_IFLNK, S_IFMT } from '../erofs/format.js'
import { quote } from '../image/quote.js'
import { MAX_NAME } from '../layer/clean-path.js'
import type { TocEntry } from '../layer/toc.js'
import { WHITEOUT_PREFIX } from '../layer/whiteout.js'
import type { StackedLayer } from '../rootfs/apply-layers.js'
import { isAtOrBelow, RUNTIME_DIRECTORIES } from './container-path.js'
import type { MountPoint, MountPointRole } from './conversion.js'
import type { ImageTree } from './image-tree.js'
import { refusedValue } from './origin.js'
import { walkPath, type WalkedPath } from './tree-walk.js'

/** Files that engines mount their own over. */
export const ETC_FILES = ['/etc/resolv.conf', '/etc/hosts', '/etc/hostname'] as const

/** A directory of mode 0755 or an empty file of mode 0644, owned by root. */
export interface GeneratedEntry {
  /** Relative to the root, without symbolic links. */
  readonly path: ByteString
  readonly isFile: boolean
}

export interface MountPointPlan {
  /** Parents before what is in them. */
  readonly entries: readonly GeneratedEntry[]
  /** Paths of what an entry replaces, in the same order. */
  readonly replaced: readonly ByteString[]
}

/**
 * Gives what has to be added to a tree so that every mount point is there.
 *
 * Links on the way are followed inside the image. What can be no mount point is replaced where the profile needs one, as is a
 * link in place of `/proc`, `/sys` and `/dev`, which runtimes refuse; where the image or the caller names the place, it is
 * an error. What lies below another mount is left alone: it will be on that mount.
 *
 * @throws OcimountError `IMAGE_INVALID` or `USAGE`, as the mount point's origin says, also for one that a link leads into
 *   `/proc`, `/sys` or `/dev`, or to the root
 */
export function planMountPoints(tree: ImageTree, points: readonly MountPoint[]): MountPointPlan {
  const planner = new Planner(tree)
  for (const point of points) planner.add(point)
  return { entries: planner.entries, replaced: planner.replaced }
}

/**
 * Makes the layer that holds the entries, named `generated:<SHA-256 of them>`, or undefined where there are none.
 *
 * It has no bytes: its device is of size 0. Its notes list the entries for the report.
 */
export function generatedLayer({ entries, replaced }: MountPointPlan): StackedLayer | undefined {
  if (entries.length === 0) return undefined
  const hash = createHash('sha256').update('ocimount generated layer\n')
  for (const { path, isFile } of entries) {
    hash.update(`${isFile ? 'file' : 'directory'} ${path.length}:`)
    hash.update(path, 'latin1')
    hash.update('\n')
  }
  return {
    layerId: `generated:${hash.digest('hex')}`,
    toc: {
      entries: entries.map(tocEntry),
      notes: entries.map(({ path, isFile }) => ({
        kind: 'mount-point',
        path,
        detail: `${isFile ? 'an empty file' : 'a directory'} for a mount${replaced.includes(path) ? ', in place of what the image has there' : ''}`,
      })),
      deviceSize: 0,
    },
  }
}

interface RoleRule {
  /** Words for messages. */
  readonly what: string
  readonly keepLastLink: boolean
  /** What to do with something that can be no mount point of that kind. */
  readonly inTheWay: 'replace' | 'refuse' | 'leave'
}

const ROLES: Readonly<Record<MountPointRole, RoleRule>> = {
  runtime: { what: 'mount point', keepLastLink: true, inTheWay: 'replace' },
  profile: { what: 'mount point', keepLastLink: false, inTheWay: 'replace' },
  etc: { what: 'mount point', keepLastLink: true, inTheWay: 'replace' },
  'etc-spare': { what: 'mount point', keepLastLink: true, inTheWay: 'leave' },
  volume: { what: 'volume', keepLastLink: false, inTheWay: 'refuse' },
  mount: { what: 'mount at', keepLastLink: false, inTheWay: 'refuse' },
  cwd: { what: 'working directory', keepLastLink: false, inTheWay: 'refuse' },
}

class Planner {
  readonly entries: GeneratedEntry[] = []
  readonly replaced: ByteString[] = []
  readonly #tree: ImageTree
  /** Whether each added path is a file. */
  readonly #added = new Map<string, boolean>()
  /** Resolved places of the mounts so far. */
  readonly #mounts: string[] = []

  constructor(tree: ImageTree) {
    this.#tree = tree
  }

  add(point: MountPoint): void {
    const { keepLastLink, inTheWay } = ROLES[point.role]
    const added = this.#added
    const walked = walkPath(this.#tree.image, point.path, { keepLastLink, added })
    const problem =
      walked === undefined
        ? 'it goes through too many symbolic links'
        : placeProblem(point, placeOf(walked))
    if (walked === undefined || problem !== undefined) {
      if (inTheWay === 'leave') return
      throw refusedPoint(point, problem ?? '')
    }
    const place = placeOf(walked)
    const isOnMount = this.#mounts.some((mount) => mount !== place && isAtOrBelow(place, mount))
    if (point.role !== 'cwd' && point.role !== 'etc-spare') this.#mounts.push(place)
    if (!isOnMount) this.#fill(point, walked)
  }

  #fill(point: MountPoint, walked: WalkedPath): void {
    const { parts, existing, obstacle } = walked
    const isDirectory = existing === parts.length
    if (isDirectory && !point.isFile) return
    if (isDirectory || obstacle !== undefined) {
      const at = Math.min(existing, parts.length - 1)
      if (!isDirectory && this.#isUsable(point, { parts, at, obstacle })) return
      if (this.#isLeft(point, parts.slice(0, at + 1))) return
      this.#addFrom(at, point, parts)
      return
    }
    this.#addFrom(existing, point, parts)
  }

  /** Tells whether what is there will do: a bind mount of a file takes anything but a directory or a link. */
  #isUsable(
    point: MountPoint,
    {
      parts,
      at,
      obstacle,
    }: { parts: readonly ByteString[]; at: number; obstacle: number | undefined },
  ): boolean {
    if (!point.isFile || at !== parts.length - 1 || obstacle === undefined) return false
    return (this.#tree.image.inode(obstacle).mode & S_IFMT) !== S_IFLNK
  }

  /** Settles what becomes of something in the way; gives whether it stays. */
  #isLeft(point: MountPoint, parts: readonly ByteString[]): boolean {
    const path = parts.join('/') as ByteString
    const { inTheWay } = ROLES[point.role]
    if (inTheWay === 'leave') return true
    if (inTheWay === 'refuse') {
      const wanted = point.isFile ? 'file' : 'directory'
      throw refusedPoint(point, `/${escapeName(path)} in the image is no ${wanted}`)
    }
    this.replaced.push(path)
    return false
  }

  #addFrom(start: number, point: MountPoint, parts: readonly ByteString[]): void {
    const wanted: GeneratedEntry[] = []
    for (let length = start + 1; length <= parts.length; length++) {
      const problem = nameProblem(parts[length - 1] ?? ('' as ByteString))
      if (problem !== undefined) throw refusedPoint(point, problem)
      const path = parts.slice(0, length).join('/') as ByteString
      const isFile = point.isFile && length === parts.length
      if (this.#added.get(path) === !isFile) {
        if (ROLES[point.role].inTheWay === 'leave') return
        const why = `another mount needs /${escapeName(path)} to be a ${isFile ? 'directory' : 'file'}`
        throw refusedPoint(point, why)
      }
      wanted.push({ path, isFile })
    }
    for (const entry of wanted) {
      if (this.#added.has(entry.path)) continue
      this.#added.set(entry.path, entry.isFile)
      this.entries.push(entry)
    }
  }
}

function placeOf({ parts }: WalkedPath): string {
  return `/${parts.join('/')}`
}

/** Links must not lead a mount to where the kernel's and the runtime's own are (CVE-2019-16884, CVE-2021-30465). */
function placeProblem({ role, path }: MountPoint, place: string): string | undefined {
  if (role === 'runtime' || role === 'profile') return undefined
  if (place === '/') return role === 'cwd' ? undefined : 'it is the root of the image'
  const directory = RUNTIME_DIRECTORIES.find((name) => isAtOrBelow(place, name))
  if (directory === undefined) return undefined
  // The caller may well add to /dev or /sys, and a program may start there.
  if (directory !== '/proc' && isAtOrBelow(path, directory)) return undefined
  return `it leads to ${escapeName(place as ByteString)}`
}

function refusedPoint({ role, path, origin }: MountPoint, why: string): Error {
  return refusedValue(origin, `${ROLES[role].what} ${quote(path)}`, why)
}

function nameProblem(name: ByteString): string | undefined {
  if (name.length > MAX_NAME) return `a name in it is longer than ${MAX_NAME} bytes`
  // A layer cannot hold such a name: it would hide another.
  return name.startsWith(WHITEOUT_PREFIX) ? 'a name in it is that of a whiteout' : undefined
}

function tocEntry({ path, isFile }: GeneratedEntry): TocEntry {
  return {
    path,
    type: isFile ? 'file' : 'directory',
    mode: isFile ? 0o644 : 0o755,
    uid: 0,
    gid: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
    size: 0,
    headerOffset: 0,
    dataOffset: 0,
    linkTarget: byteStringOf(''),
    devMajor: 0,
    devMinor: 0,
    xattrs: undefined,
    sparse: undefined,
  }
}
