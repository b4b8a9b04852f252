// Builds the trees that the EROFS writer takes, and says what an image should answer for them.

import { createHash } from 'node:crypto'
import type { ByteString } from '../../src/byte-string.js'
import { encodeDev, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../src/erofs/format.js'
import type { ErofsExtent, ErofsNode } from '../../src/erofs/node.js'
import type { ErofsImage, ErofsPiece } from '../../src/erofs/reader.js'

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

/** What lstat, readlink, readdir and the xattr calls tell of one path, and a digest of its content. */
export interface PathSnapshot {
  readonly ino: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Nanoseconds, in decimal. */
  readonly mtime: string
  readonly nlink: number
  readonly size: number
  readonly rdev: number
  readonly blocks: number
  readonly target: string | null
  readonly xattrs: Readonly<Record<string, string>>
  /** Names, `.` and `..` included, each with the type bits that readdir gave. */
  readonly entries: readonly (readonly [string, number])[] | null
  /** SHA-256 of a file that is not huge. */
  readonly content: string | null
}

/** Snapshots by path, sorted; paths are bytes held as Latin-1, the root is `/`. */
export type TreeSnapshot = Map<string, PathSnapshot>

/** Files above this are not read. */
export const MAX_CONTENT = 1 << 22

/** Snapshots what a tree says, with inode numbers that only tell hard links from copies. */
export function snapshotNode(root: ErofsNode, devices: readonly Buffer[]): TreeSnapshot {
  const snapshot: TreeSnapshot = new Map()
  const links = countLinks(root)
  const numbers = new Map<ErofsNode, number>()
  const pending: [string, ErofsNode][] = [['', root]]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, item] = next
    const ino = numbers.get(item) ?? numbers.size + 1
    numbers.set(item, ino)
    const children = [...(item.children ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))
    const isDirectory = (item.mode & S_IFMT) === S_IFDIR
    const size = item.size ?? item.target?.length ?? 0
    snapshot.set(path === '' ? '/' : path, {
      ino,
      mode: item.mode,
      uid: item.uid,
      gid: item.gid,
      mtime: nanoseconds(item.mtimeSeconds, item.mtimeNanoseconds),
      nlink: links.get(item) ?? 0,
      size,
      rdev: item.devMajor === undefined ? 0 : encodeDev(item.devMajor, item.devMinor ?? 0),
      blocks: Math.ceil(size / 512),
      target: item.target ?? null,
      xattrs: Object.fromEntries(
        [...(item.xattrs ?? [])].sort().map(([key, value]) => [key, value.toString('latin1')]),
      ),
      entries: isDirectory ? entriesOf(children) : null,
      content:
        item.size === undefined || size > MAX_CONTENT ? null : digestOf(contentOf(item, devices)),
    })
    for (const [key, child] of children.reverse()) pending.push([`${path}/${key}`, child])
  }
  return snapshot
}

/** Snapshots what the reader says. */
export function snapshotImage(image: ErofsImage, devices: readonly Buffer[]): TreeSnapshot {
  const snapshot: TreeSnapshot = new Map()
  const pending: [string, number][] = [['', image.rootNid]]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, nid] = next
    const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, ...inode } = image.inode(nid)
    const kind = mode & S_IFMT
    const entries = kind === S_IFDIR ? [...image.readdir(nid)] : []
    snapshot.set(path === '' ? '/' : path, {
      ino: nid,
      mode,
      uid,
      gid,
      mtime: nanoseconds(mtimeSeconds, mtimeNanoseconds),
      nlink: inode.nlink,
      size: inode.size,
      rdev: inode.rdev,
      blocks: inode.blocks,
      target: kind === S_IFLNK ? image.readlink(nid) : null,
      xattrs: Object.fromEntries(
        image
          .listxattr(nid)
          .sort()
          .map((key) => [key, image.getxattr(nid, key)!.toString('latin1')]),
      ),
      entries: kind === S_IFDIR ? entries.map((entry) => [entry.name, entry.type] as const) : null,
      content:
        kind !== S_IFREG || inode.size > MAX_CONTENT
          ? null
          : digestOf(readPieces(image.extents(nid, 0, inode.size), devices)),
    })
    for (const entry of entries.reverse()) {
      if (entry.name !== '.' && entry.name !== '..')
        pending.push([`${path}/${entry.name}`, entry.nid])
    }
  }
  return snapshot
}

/**
 * Names what differs, path by path and field by field, and stops at ten. A diff of whole snapshots takes
 * minutes for large directories.
 */
export function diffSnapshots(got: TreeSnapshot, want: TreeSnapshot): string[] {
  const differences: string[] = []
  for (const path of new Set([...got.keys(), ...want.keys()])) {
    const gotFields: Record<string, unknown> = { ...got.get(path) }
    const wantFields: Record<string, unknown> = { ...want.get(path) }
    for (const field of new Set([...Object.keys(gotFields), ...Object.keys(wantFields)])) {
      const gotText = JSON.stringify(gotFields[field] ?? null)
      const wantText = JSON.stringify(wantFields[field] ?? null)
      if (gotText === wantText) continue
      let from = 0
      while (gotText[from] === wantText[from]) from++
      const excerpt = (text: string): string => text.slice(Math.max(0, from - 40), from + 40)
      differences.push(`${path} ${field}: got ${excerpt(gotText)}, want ${excerpt(wantText)}`)
      if (differences.length === 10) return differences
    }
  }
  return differences
}

/** Replaces what is the writer's choice: sizes of directories, and inode numbers by those of first sight. */
export function withoutLayout(snapshot: TreeSnapshot): TreeSnapshot {
  const numbers = new Map<number, number>()
  return new Map(
    Array.from(snapshot, ([path, item]) => {
      const ino = numbers.get(item.ino) ?? numbers.size + 1
      numbers.set(item.ino, ino)
      const isDirectory = (item.mode & S_IFMT) === S_IFDIR
      return [path, { ...item, ino, ...(isDirectory ? { size: 0, blocks: 0 } : {}) }]
    }),
  )
}

/** Puts pieces together. */
export function readPieces(pieces: readonly ErofsPiece[], devices: readonly Buffer[]): Buffer {
  return Buffer.concat(
    pieces.map(({ device, deviceOffset, length }) =>
      device === 'zero'
        ? Buffer.alloc(length)
        : devices[device]!.subarray(deviceOffset, deviceOffset + length),
    ),
  )
}

/** Gives the bytes that a file's extents stand for. */
export function contentOf(item: ErofsNode, devices: readonly Buffer[]): Buffer {
  const content = Buffer.alloc(item.size ?? 0)
  for (const { fileOffset, device, deviceOffset, length } of item.extents ?? []) {
    devices[device]!.copy(content, fileOffset, deviceOffset, deviceOffset + length)
  }
  return content
}

export function digestOf(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}

function nanoseconds(seconds: number, rest: number): string {
  return String(BigInt(seconds) * 1_000_000_000n + BigInt(rest))
}

function entriesOf(children: readonly (readonly [ByteString, ErofsNode])[]): [string, number][] {
  const entries = children.map(([key, child]): [string, number] => [key, child.mode & S_IFMT])
  entries.push(['.', S_IFDIR], ['..', S_IFDIR])
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
