// Applies layers the naive way, for comparison: a flat table from path to inode, changed by the letter of
// image-spec layer.md and of DESIGN section 6. It shares no code and no data structure with src/rootfs.
//
// Every layer takes two passes: whiteouts against the tree of the lower layers, then the entries in order.

import { createHash } from 'node:crypto'
import type { TocEntry } from '../../src/layer/toc.js'
import type { BuiltLayer } from '../helpers/build-layer.js'

export interface NaiveInode {
  readonly type: 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo' | 'pending'
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: string
  readonly content?: Buffer
  readonly target?: string
  readonly rdev?: string
  readonly xattrs: Readonly<Record<string, string>>
}

/**
 * Rows of the checklist that a stack touched and in which extractors differ: `B-035` a link to itself, `B-059`
 * a parent that is no directory, `B-063` a forward link, `B-072` an entry below a file that its layer hides,
 * `B-073` a hidden directory that is implied anew, `B-077` an opaque marker without a directory, `B-078` a
 * whiteout below a link that its layer replaces, `B-089` a whiteout through a link, `B-091` a link to what its
 * layer hides.
 */
export type NaiveRemark =
  'B-035' | 'B-059' | 'B-063' | 'B-072' | 'B-073' | 'B-077' | 'B-078' | 'B-089' | 'B-091'

export interface NaiveResult {
  readonly files: ReadonlyMap<string, NaiveInode>
  readonly remarks: ReadonlySet<NaiveRemark>
}

const IMPLIED: NaiveInode = {
  type: 'directory',
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: '0.0',
  xattrs: {},
}

/** Extracts layers one after the other; throws a plain Error where an extractor would. */
export function extractNaively(layers: readonly BuiltLayer[]): NaiveResult {
  const extractor = new NaiveExtractor()
  for (const built of layers) extractor.apply(built)
  return { files: extractor.files, remarks: extractor.remarks }
}

class NaiveExtractor {
  readonly files = new Map<string, NaiveInode>([['', IMPLIED]])
  readonly remarks = new Set<NaiveRemark>()

  apply({ toc, tar }: BuiltLayer): void {
    const before = new Map(this.files)
    const isWhiteout = (entry: TocEntry): boolean =>
      entry.type === 'whiteout' || entry.type === 'opaque'
    this.applyWhiteouts(
      toc.entries.filter(isWhiteout),
      toc.entries.filter((entry) => !isWhiteout(entry)),
    )
    const hidden = new Map<TocEntry, NaiveInode>()
    for (const entry of toc.entries) {
      const target = entry.type === 'hardlink' ? tryFind(before, entry) : undefined
      if (target !== undefined && tryFind(this.files, entry) === undefined) {
        hidden.set(entry, target)
      }
    }
    const pending: { entry: TocEntry; path: string; inode: NaiveInode }[] = []
    for (const entry of toc.entries) {
      if (isWhiteout(entry)) continue
      if (entry.path === '') {
        if (entry.type !== 'directory') throw new Error('the root is no directory')
        this.files.set('', inodeOf(entry, tar))
        continue
      }
      const parent = realPath(this.files, dirname(entry.path))
      const isHiddenFile = (prefix: string): boolean =>
        before.has(prefix) && before.get(prefix)?.type !== 'directory'
      if (prefixes(parent).some(isHiddenFile)) this.remarks.add('B-072')
      this.makeDirectories(parent)
      const path = join(parent, basename(entry.path))
      const old = this.files.get(path)
      if (entry.type === 'directory' && old?.type === 'directory') {
        this.files.set(path, inodeOf(entry, tar))
        continue
      }
      if (entry.type === 'hardlink') {
        const target = targetPath(this.files, entry)
        if (target === path && old !== undefined) {
          this.remarks.add('B-035')
          continue
        }
      }
      this.remove(path)
      if (entry.type !== 'hardlink') {
        this.files.set(path, inodeOf(entry, tar))
        continue
      }
      const target = this.files.get(targetPath(this.files, entry))
      if (target === undefined || target.type === 'pending') {
        this.remarks.add('B-063')
        const inode: NaiveInode = { ...IMPLIED, type: 'pending' }
        pending.push({ entry, path, inode })
        this.files.set(path, inode)
      } else {
        if (target.type === 'directory') throw new Error('a hard link to a directory')
        this.files.set(path, target)
      }
    }
    this.settle(pending, hidden)
    for (const [path, old] of before) {
      const isNew = this.files.get(path) === IMPLIED && old !== IMPLIED
      if (old.type === 'directory' && isNew) this.remarks.add('B-073')
    }
  }

  /** Links that had to wait, again and again until nothing moves any more. */
  private settle(
    pending: { entry: TocEntry; path: string; inode: NaiveInode }[],
    hidden: ReadonlyMap<TocEntry, NaiveInode>,
  ): void {
    const targets = new Map<NaiveInode, NaiveInode>()
    for (let waiting = pending; waiting.length > 0;) {
      const rest: typeof pending = []
      for (const link of waiting) {
        let target = this.files.get(targetPath(this.files, link.entry))
        if (target?.type === 'pending') target = targets.get(target) ?? target
        if (target === undefined) {
          target = hidden.get(link.entry)
          if (target !== undefined) this.remarks.add('B-091')
        }
        if (target === undefined) throw new Error('a hard link without a target')
        if (target.type === 'directory') throw new Error('a hard link to a directory')
        if (target.type === 'pending') {
          rest.push(link)
          continue
        }
        targets.set(link.inode, target)
        if (this.files.get(link.path) === link.inode) this.files.set(link.path, target)
      }
      if (rest.length === waiting.length) throw new Error('hard links in a circle')
      waiting = rest
    }
  }

  private applyWhiteouts(whiteouts: readonly TocEntry[], entries: readonly TocEntry[]): void {
    const lower = new Map(this.files)
    // Links that the layer itself replaces by something else lead nowhere any more.
    const gone = new Set<string>()
    for (const entry of entries) {
      if (entry.type === 'symlink') continue
      const parent = tryRealPath(lower, dirname(entry.path))
      if (parent === undefined) continue
      const path = join(parent, basename(entry.path))
      if (lower.get(path)?.type === 'symlink') gone.add(path)
    }
    const sorted = [...whiteouts].sort((a, b) => compare(a.path, b.path) || compare(b.type, a.type))
    for (const { path, type } of sorted) {
      const literal = type === 'opaque' ? path : dirname(path)
      const directory = realPath(this.files, literal, gone)
      if (directory !== literal) this.remarks.add(directory === undefined ? 'B-078' : 'B-089')
      if (directory === undefined) continue
      if (type === 'opaque') this.removeBelow(directory)
      else if (this.isDirectory(directory)) this.remove(join(directory, basename(path)))
    }
    for (const { path, type } of sorted) {
      if (type !== 'opaque') continue
      const directory = realPath(this.files, path, gone)
      if (directory === undefined) continue
      const isBlocked = prefixes(directory).some(
        (prefix) => this.files.has(prefix) && !this.isDirectory(prefix),
      )
      if (isBlocked) continue
      if (!this.files.has(directory)) this.remarks.add('B-077')
      this.makeDirectories(directory)
    }
  }

  private isDirectory(path: string): boolean {
    return this.files.get(path)?.type === 'directory'
  }

  private makeDirectories(path: string): void {
    for (const prefix of prefixes(path)) {
      if (this.isDirectory(prefix)) continue
      if (this.files.has(prefix)) this.remarks.add('B-059')
      this.remove(prefix)
      this.files.set(prefix, IMPLIED)
    }
  }

  private remove(path: string): void {
    this.removeBelow(path)
    this.files.delete(path)
  }

  private removeBelow(path: string): void {
    for (const other of [...this.files.keys()]) {
      if (other !== '' && other !== path && (path === '' || other.startsWith(`${path}/`))) {
        this.files.delete(other)
      }
    }
  }
}

function inodeOf(entry: TocEntry, tar: Buffer): NaiveInode {
  const { mode, uid, gid, mtime, type } = entry
  if (type === 'whiteout' || type === 'opaque' || type === 'hardlink') throw new Error('no inode')
  const base = {
    type,
    mode: type === 'symlink' ? 0o777 : mode,
    uid,
    gid,
    mtime: `${mtime.seconds}.${mtime.nanoseconds}`,
    xattrs: Object.fromEntries(
      [...(entry.xattrs ?? [])].map(([name, value]) => [name, value.toString('hex')]),
    ),
  }
  if (type === 'symlink') return { ...base, target: entry.linkTarget }
  if (type === 'char' || type === 'block') {
    return { ...base, rdev: `${entry.devMajor}:${entry.devMinor}` }
  }
  return type === 'file' ? { ...base, content: contentOf(entry, tar) } : base
}

function contentOf(entry: TocEntry, tar: Buffer): Buffer {
  const whole = { fileOffset: 0, deviceOffset: entry.dataOffset, length: entry.size }
  const content = Buffer.alloc(entry.size)
  for (const { fileOffset, deviceOffset, length } of entry.sparse ?? [whole]) {
    tar.copy(content, fileOffset, deviceOffset, deviceOffset + length)
  }
  return content
}

function targetPath(files: ReadonlyMap<string, NaiveInode>, entry: TocEntry): string {
  return join(realPath(files, dirname(entry.linkTarget)), basename(entry.linkTarget))
}

function tryFind(files: ReadonlyMap<string, NaiveInode>, entry: TocEntry): NaiveInode | undefined {
  const parent = tryRealPath(files, dirname(entry.linkTarget))
  return parent === undefined ? undefined : files.get(join(parent, basename(entry.linkTarget)))
}

/** Resolves all links of a path as if the table were the whole world; what is missing stays as spelled. */
function realPath(files: ReadonlyMap<string, NaiveInode>, path: string): string
function realPath(
  files: ReadonlyMap<string, NaiveInode>,
  path: string,
  gone: ReadonlySet<string>,
): string | undefined
function realPath(
  files: ReadonlyMap<string, NaiveInode>,
  path: string,
  gone?: ReadonlySet<string>,
): string | undefined {
  const done: string[] = []
  const todo = path.split('/')
  let links = 0
  for (let part = todo.shift(); part !== undefined; part = todo.shift()) {
    if (part === '' || part === '.') continue
    if (part === '..') {
      done.pop()
      continue
    }
    done.push(part)
    const here = files.get(done.join('/'))
    if (here?.type !== 'symlink') continue
    if (gone?.has(done.join('/')) === true) return undefined
    if (++links > 40) throw new Error('too many levels of symbolic links')
    const target = here.target ?? ''
    done.splice(target.startsWith('/') ? 0 : -1)
    todo.unshift(...target.split('/'))
  }
  return done.join('/')
}

function tryRealPath(files: ReadonlyMap<string, NaiveInode>, path: string): string | undefined {
  try {
    return realPath(files, path)
  } catch {
    return undefined
  }
}

function prefixes(path: string): string[] {
  const parts = path === '' ? [] : path.split('/')
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'))
}

function dirname(path: string): string {
  return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : ''
}

function basename(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function join(directory: string, name: string): string {
  return directory === '' ? name : `${directory}/${name}`
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Describes one inode in the form in which trees are compared. */
export function describeInode(inode: NaiveInode): Record<string, unknown> {
  const { content, ...rest } = inode
  if (content === undefined) return rest
  return { ...rest, content: createHash('sha256').update(content).digest('hex') }
}
