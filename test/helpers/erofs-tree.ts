// Builds the trees that the EROFS writer takes, and says what an image should answer for them.

import type { ByteString } from '../../src/byte-string.js'
import { encodeDev, S_IFMT } from '../../src/erofs/format.js'
import type { ErofsExtent, ErofsNode } from '../../src/erofs/node.js'
import type { ErofsImage } from '../../src/erofs/reader.js'

export type NodeFields = Partial<ErofsNode>

/** Takes Latin-1 text as the bytes of a name. */
export function name(text: string): ByteString {
  return text as ByteString
}

export function node(mode: number, fields: NodeFields = {}): ErofsNode {
  return {
    mode,
    uid: 0,
    gid: 0,
    mtimeSeconds: 1_700_000_000,
    mtimeNanoseconds: 0,
    xattrs: undefined,
    ...fields,
  }
}

export function directory(children: Record<string, ErofsNode>, fields: NodeFields = {}): ErofsNode {
  const entries = Object.entries(children) as [ByteString, ErofsNode][]
  return node(0o40755, { children: new Map(entries), ...fields })
}

export function file(
  size: number,
  extents: readonly ErofsExtent[] = [],
  fields: NodeFields = {},
): ErofsNode {
  return node(0o100644, { size, extents, ...fields })
}

/** A file whose content lies in one piece on device 0. */
export function contiguous(deviceOffset: number, size: number, fields: NodeFields = {}): ErofsNode {
  return file(size, [{ fileOffset: 0, device: 0, deviceOffset, length: size }], fields)
}

export function symlink(target: string, fields: NodeFields = {}): ErofsNode {
  return node(0o120777, { target: name(target), ...fields })
}

export function xattrs(values: Record<string, string | Buffer>): Map<ByteString, Buffer> {
  return new Map(
    Object.entries(values).map(([key, value]) => [
      name(key),
      typeof value === 'string' ? Buffer.from(value, 'latin1') : value,
    ]),
  )
}

/** What lstat, readlink, the xattr calls and readdir tell of one path. */
export interface PathSnapshot {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: string
  readonly nlink: number
  readonly size: number
  readonly rdev: number
  readonly blocks: number
  /** The first path, in order, that is the same inode. */
  readonly sameAs: string
  readonly target: string | undefined
  readonly xattrs: Readonly<Record<string, string>>
  /** Names, `.` and `..` included, each with its type bits. */
  readonly entries: readonly (readonly [string, number])[] | undefined
}

/** Snapshots by path; paths are bytes held as Latin-1, `/` is the root. */
export type TreeSnapshot = Map<string, PathSnapshot>

/** Snapshots what the tree says; sizes of directories are the writer's choice and given as 0. */
export function snapshotNode(root: ErofsNode): TreeSnapshot {
  const snapshot: TreeSnapshot = new Map()
  const links = countLinks(root)
  const firstPath = new Map<ErofsNode, string>()
  const pending: [string, ErofsNode, ErofsNode][] = [['', root, root]]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, item] = next
    const isDirectory = (item.mode & S_IFMT) === 0o40000
    const key = path === '' ? '/' : path
    const sameAs = firstPath.get(item) ?? key
    firstPath.set(item, sameAs)
    const names = [...(item.children ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))
    const size = isDirectory ? 0 : (item.size ?? item.target?.length ?? 0)
    const isDevice = item.devMajor !== undefined
    snapshot.set(key, {
      mode: item.mode,
      uid: item.uid,
      gid: item.gid,
      mtime: nanoseconds(item.mtimeSeconds, item.mtimeNanoseconds),
      nlink: links.get(item) ?? 0,
      size,
      rdev: isDevice ? encodeDev(item.devMajor ?? 0, item.devMinor ?? 0) : 0,
      blocks: Math.ceil(size / 512),
      sameAs,
      target: item.target,
      xattrs: Object.fromEntries(
        [...(item.xattrs ?? [])].sort().map(([key, value]) => [key, value.toString('latin1')]),
      ),
      entries: isDirectory ? entriesOf(names) : undefined,
    })
    for (const [childName, child] of names.reverse()) {
      pending.push([`${path}/${childName}`, child, item])
    }
  }
  return snapshot
}

/** Snapshots what the reader says; sizes of directories are given as 0, to compare with the tree. */
export function snapshotImage(image: ErofsImage): TreeSnapshot {
  const snapshot: TreeSnapshot = new Map()
  const firstPath = new Map<number, string>()
  const pending: [string, number][] = [['', image.rootNid]]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, nid] = next
    const inode = image.inode(nid)
    const kind = inode.mode & S_IFMT
    const isDirectory = kind === 0o40000
    const key = path === '' ? '/' : path
    const sameAs = firstPath.get(nid) ?? key
    firstPath.set(nid, sameAs)
    const entries = isDirectory ? [...image.readdir(nid)] : []
    snapshot.set(key, {
      mode: inode.mode,
      uid: inode.uid,
      gid: inode.gid,
      mtime: nanoseconds(inode.mtimeSeconds, inode.mtimeNanoseconds),
      nlink: inode.nlink,
      size: isDirectory ? 0 : inode.size,
      rdev: inode.rdev,
      blocks: isDirectory ? 0 : inode.blocks,
      sameAs,
      target: kind === 0o120000 ? image.readlink(nid) : undefined,
      xattrs: Object.fromEntries(
        image
          .listxattr(nid)
          .sort()
          .map((key) => [key, image.getxattr(nid, key)!.toString('latin1')]),
      ),
      entries: isDirectory ? entries.map((entry) => [entry.name, entry.type] as const) : undefined,
    })
    for (const entry of entries.reverse()) {
      if (entry.name !== '.' && entry.name !== '..')
        pending.push([`${path}/${entry.name}`, entry.nid])
    }
  }
  return snapshot
}

/** Seconds and nanoseconds as one number of nanoseconds, in decimal. */
export function nanoseconds(seconds: number, rest: number): string {
  return String(BigInt(seconds) * 1_000_000_000n + BigInt(rest))
}

function entriesOf(names: readonly (readonly [ByteString, ErofsNode])[]): [string, number][] {
  const entries = names.map(([key, child]): [string, number] => [key, child.mode & S_IFMT])
  entries.push(['.', 0o40000], ['..', 0o40000])
  return entries.sort(([a], [b]) => (a < b ? -1 : 1))
}

function countLinks(root: ErofsNode): Map<ErofsNode, number> {
  const links = new Map([[root, 2]])
  const pending = [root]
  for (let parent = pending.pop(); parent !== undefined; parent = pending.pop()) {
    for (const child of parent.children?.values() ?? []) {
      if (child.children === undefined) {
        links.set(child, (links.get(child) ?? 0) + 1)
        continue
      }
      links.set(child, 2)
      links.set(parent, links.get(parent)! + 1)
      pending.push(child)
    }
  }
  return links
}
