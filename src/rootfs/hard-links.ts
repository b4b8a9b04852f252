// The hard links of one layer. A link shares the inode of its target, from whatever layer that comes
// (B-062); its own header counts for nothing (B-065). One whose target is not there yet keeps its place by a
// placeholder and is settled when the layer's last entry has been applied (B-063).

import { escapeName, type ByteString } from '../byte-string.js'
import { S_IFMT } from '../erofs/format.js'
import type { OcimountError } from '../errors.js'
import type { TocEntry } from '../layer/toc.js'
import { entryError, MAX_SYMLINKS } from './limits.js'
import type { ReportBuilder } from './report.js'
import { isDirectory, isSymlink, placeholderNode, type TreeNode } from './tree-node.js'
import { baseOf, parentOf, type TreeWalker, type WalkSubject } from './tree-walker.js'

interface PendingLink {
  readonly entry: TocEntry
  readonly parent: TreeNode
  readonly name: ByteString
  readonly placeholder: TreeNode
  target: TreeNode | undefined
}

export interface HardLinksOptions {
  readonly layer: number
  readonly walker: TreeWalker
  readonly report: ReportBuilder
}

/** Resolves the hard links of one layer. */
export class HardLinks {
  private readonly layer: number
  private readonly walker: TreeWalker
  private readonly report: ReportBuilder
  private readonly pending = new Map<TreeNode, PendingLink>()
  /** Targets that the layer's own whiteouts hide. */
  private readonly hiddenTargets = new Map<TocEntry, TreeNode>()
  /** Files below the root's `.wh..wh.` names by path: they can be linked to but are not shown (B-086). */
  private readonly aufsFiles = new Map<ByteString, TreeNode>()

  constructor({ layer, walker, report }: HardLinksOptions) {
    this.layer = layer
    this.walker = walker
    this.report = report
  }

  /**
   * Keeps the targets that whiteouts of the layer hide while they are applied.
   *
   * Whiteouts act first, but an extractor that goes through the archive once can link `b` to `a` and then
   * remove `a`: such a layer means a renamed file, and its content must not be lost.
   */
  keepTargetsWhile(entries: readonly TocEntry[], applyWhiteouts: () => void): void {
    const links = entries.filter(({ type }) => type === 'hardlink')
    const before = links.map((entry) => this.tryLookup(entry))
    applyWhiteouts()
    for (const [index, entry] of links.entries()) {
      const target = before[index]
      if (target !== undefined && this.tryLookup(entry) === undefined) {
        this.hiddenTargets.set(entry, target)
      }
    }
  }

  addAufsFile(path: ByteString, node: TreeNode): void {
    this.aufsFiles.set(path, node)
  }

  /** The same for a link among them; one without a target is missed when something links to it. */
  addAufsLink(entry: TocEntry): void {
    const target = this.lookup(entry)
    if (target !== undefined) this.aufsFiles.set(entry.path, target)
  }

  /** Tells whether an entry is a link to its own name, which exists: nothing is to be done then (B-035). */
  isToItself(entry: TocEntry, parent: TreeNode, name: ByteString): boolean {
    this.walker.walk(parentOf(entry.linkTarget), this.subject(entry))
    return this.walker.directory === parent && baseOf(entry.linkTarget) === name
  }

  /**
   * Gives the node to put under the link's name, which must be free by now: the target, or a placeholder.
   *
   * @throws `TAR_CORRUPT` when the target is a directory (B-064).
   */
  link(entry: TocEntry, parent: TreeNode, name: ByteString): TreeNode {
    const target = this.lookup(entry)
    if (target !== undefined && !this.pending.has(target)) return this.share(entry, target)
    const placeholder = placeholderNode(entry, this.layer)
    this.pending.set(placeholder, { entry, parent, name, placeholder, target: undefined })
    return placeholder
  }

  /**
   * Settles the links that waited, each at once with those that wait for it.
   *
   * @throws `TAR_CORRUPT` when a target is missing, a directory, or a link that leads back (B-064).
   */
  settle(): void {
    for (const start of this.pending.values()) {
      const chain: PendingLink[] = []
      let target: TreeNode | undefined
      for (let link: PendingLink | undefined = start; link !== undefined;) {
        if (link.target !== undefined) {
          target = link.target
          break
        }
        chain.push(link)
        if (chain.length > this.pending.size) throw this.missing(start.entry)
        target = this.lookup(link.entry) ?? this.hiddenTarget(link.entry)
        if (target === undefined) throw this.missing(link.entry)
        link = this.pending.get(target)
      }
      if (target === undefined) continue
      for (const link of chain) this.place(link, target)
    }
  }

  private place(link: PendingLink, target: TreeNode): void {
    link.target = this.share(link.entry, target)
    // A later entry may have taken the name, or the directory, away again.
    if (link.parent.children?.get(link.name) === link.placeholder) {
      link.parent.children.set(link.name, target)
    }
  }

  private share(entry: TocEntry, target: TreeNode): TreeNode {
    if (isDirectory(target)) {
      throw this.error(entry, `its target "${escapeName(entry.linkTarget)}" is a directory`)
    }
    if (!hasMetadataOf(entry, target)) {
      const detail = `has other metadata than its target "${escapeName(entry.linkTarget)}", whose metadata counts`
      this.report.add('hard-link-metadata', this.layer, entry.path, detail)
    }
    target.isLinked = true
    return target
  }

  private lookup(entry: TocEntry): TreeNode | undefined {
    const aufsFile = this.aufsFiles.get(entry.linkTarget)
    if (aufsFile !== undefined) return aufsFile
    this.walker.walk(parentOf(entry.linkTarget), this.subject(entry))
    return this.walker.directory?.children?.get(baseOf(entry.linkTarget))
  }

  private hiddenTarget(entry: TocEntry): TreeNode | undefined {
    const target = this.hiddenTargets.get(entry)
    if (target === undefined) return undefined
    const detail = `links to "${escapeName(entry.linkTarget)}", which the same layer removes`
    this.report.add('hard-link-to-hidden', this.layer, entry.path, detail)
    return target
  }

  private tryLookup(entry: TocEntry): TreeNode | undefined {
    let links = 0
    const isEndless = (): boolean => ++links > MAX_SYMLINKS
    if (!this.walker.walk(parentOf(entry.linkTarget), this.subject(entry), isEndless))
      return undefined
    return this.walker.directory?.children?.get(baseOf(entry.linkTarget))
  }

  private subject(entry: TocEntry): WalkSubject {
    return { layer: this.layer, path: entry.path }
  }

  private missing(entry: TocEntry): OcimountError {
    const why = `its target "${escapeName(entry.linkTarget)}" is neither in this layer nor below it`
    return this.error(entry, why)
  }

  private error(entry: TocEntry, why: string): OcimountError {
    return entryError(this.layer, entry.path, why)
  }
}

function hasMetadataOf(entry: TocEntry, node: TreeNode): boolean {
  return (
    entry.uid === node.uid &&
    entry.gid === node.gid &&
    entry.mtime.seconds === node.mtimeSeconds &&
    entry.mtime.nanoseconds === node.mtimeNanoseconds &&
    // Tools write what lstat() says of a link, or nothing of it.
    (isSymlink(node) || entry.mode === (node.mode & ~S_IFMT))
  )
}
