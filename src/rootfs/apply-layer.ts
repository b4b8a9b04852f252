// One layer over the tree of those below it: first its whiteouts, then its entries in the archive's order,
// then the hard links that had to wait (image-spec layer.md "Applying Changesets"; DESIGN section 6).

import { escapeName, type ByteString } from '../byte-string.js'
import type { ErofsExtent } from '../erofs/node.js'
import type { OcimountError } from '../errors.js'
import type { Toc, TocEntry } from '../layer/toc.js'
import { AUFS_PREFIX, checkEntry } from './check-entry.js'
import { HardLinks } from './hard-links.js'
import { entryError, type RootfsLimits } from './limits.js'
import type { ReportBuilder, ReportKind } from './report.js'
import {
  deviceNode,
  directoryNode,
  fifoNode,
  fileNode,
  isDirectory,
  isSymlink,
  redescribeDirectory,
  symlinkNode,
  type TreeNode,
} from './tree-node.js'
import { addChild, baseOf, parentOf, TreeWalker, type WalkBudget } from './tree-walker.js'
import { applyWhiteouts } from './whiteouts.js'
import { XattrFilter } from './xattr-filter.js'

export interface ApplyLayerOptions {
  /** Number of the layer in the stack, for messages and the report. */
  readonly layer: number
  /** Number of the device that holds the layer's bytes. */
  readonly device: number
  readonly report: ReportBuilder
  readonly limits: RootfsLimits
  readonly budget: WalkBudget
}

/**
 * Applies a layer to the tree under `root`, in place.
 *
 * @throws `TAR_CORRUPT` for an entry that no extractor could apply, `LIMIT_EXCEEDED`. The tree is then of no use.
 */
export function applyLayer(root: TreeNode, toc: Toc, options: ApplyLayerOptions): void {
  new LayerApplier(root, options).apply(toc)
}

class LayerApplier {
  private readonly root: TreeNode
  private readonly options: ApplyLayerOptions
  private readonly walker: TreeWalker
  private readonly links: HardLinks
  private readonly xattrs: XattrFilter
  /** The parent of the last entry: the next one is likely to have the same. */
  private parentPath: ByteString | undefined
  private parent: TreeNode

  constructor(root: TreeNode, options: ApplyLayerOptions) {
    const { layer, limits, budget, report } = options
    this.root = root
    this.parent = root
    this.options = options
    this.walker = new TreeWalker(root, limits, budget)
    const linkWalker = new TreeWalker(root, limits, budget)
    this.links = new HardLinks({ layer, walker: linkWalker, report })
    this.xattrs = new XattrFilter(layer)
  }

  apply(toc: Toc): void {
    const { layer, report } = this.options
    for (const note of toc.notes) report.addEntry({ ...note, layer })
    for (const entry of toc.entries) checkEntry(entry, layer, toc.deviceSize)
    if (toc.entries.some(({ type }) => type === 'whiteout' || type === 'opaque')) {
      this.links.keepTargetsWhile(toc.entries, () => {
        applyWhiteouts(toc.entries, { layer, walker: this.walker })
      })
    }
    for (const entry of toc.entries) {
      if (entry.type === 'whiteout' || entry.type === 'opaque') continue
      if (entry.path.startsWith(AUFS_PREFIX)) this.hide(entry)
      else if (entry.path === '') this.describeRoot(entry)
      else this.applyEntry(entry)
    }
    this.links.settle()
    this.xattrs.report(report)
  }

  private applyEntry(entry: TocEntry): void {
    const parent = this.parentOf(entry)
    const name = baseOf(entry.path)
    const old = parent.children?.get(name)
    if (old !== undefined && isDirectory(old) && entry.type === 'directory') {
      this.reportDuplicate(entry, old)
      redescribeDirectory(old, entry, this.xattrs.keep(entry), this.options.layer)
      return
    }
    if (old !== undefined) {
      if (entry.type === 'hardlink' && this.links.isToItself(entry, parent, name)) {
        this.remark('hard-link-to-itself', entry, 'names itself as its target, and stays as it was')
        return
      }
      this.reportDuplicate(entry, old)
      parent.children?.delete(name)
    }
    const node = this.nodeFor(entry, parent, name)
    addChild(parent, name, node)
    // Whatever turns up or goes away besides plain names can change where a path leads.
    if (isSymlink(node) || (old !== undefined && (isDirectory(old) || isSymlink(old)))) {
      this.parentPath = undefined
    }
  }

  private nodeFor(entry: TocEntry, parent: TreeNode, name: ByteString): TreeNode {
    const { layer } = this.options
    if (entry.type === 'hardlink') return this.links.link(entry, parent, name)
    this.walker.spendInode()
    const xattrs = this.xattrs.keep(entry)
    switch (entry.type) {
      case 'directory':
        return directoryNode(entry, xattrs, layer)
      case 'file':
        return fileNode(entry, xattrs, layer, extentsOf(entry, this.options.device))
      case 'symlink':
        return symlinkNode(entry, xattrs, layer)
      case 'fifo':
        return fifoNode(entry, xattrs, layer)
      case 'char':
      case 'block':
        return deviceNode(entry, xattrs, layer)
      case 'whiteout':
      case 'opaque':
        throw new RangeError('whiteouts are applied in a pass of their own')
    }
  }

  private describeRoot(entry: TocEntry): void {
    if (entry.type !== 'directory') {
      throw this.error(entry, 'the root of an image can only be a directory')
    }
    this.reportDuplicate(entry, this.root)
    redescribeDirectory(this.root, entry, this.xattrs.keep(entry), this.options.layer)
  }

  /** Keeps metadata of aufs out of the tree; the bodies of its pseudo-links can be linked to (B-085, B-086). */
  private hide(entry: TocEntry): void {
    this.remark('aufs-metadata', entry, 'is not shown')
    if (entry.type === 'hardlink') this.links.addAufsLink(entry)
    if (entry.type !== 'file') return
    this.walker.spendInode()
    const { layer, device } = this.options
    const node = fileNode(entry, this.xattrs.keep(entry), layer, extentsOf(entry, device))
    this.links.addAufsFile(entry.path, node)
  }

  private parentOf(entry: TocEntry): TreeNode {
    const path = parentOf(entry.path)
    if (path === this.parentPath) return this.parent
    const subject = { layer: this.options.layer, path: entry.path }
    this.walker.walk(path, subject)
    this.parent =
      this.walker.directory ??
      this.walker.make(subject, (name) => {
        const why = `"${escapeName(name)}" in its path was no directory and became one`
        this.remark('parent-replaced', entry, why)
      })
    this.parentPath = path
    return this.parent
  }

  private reportDuplicate(entry: TocEntry, old: TreeNode): void {
    if (old.layer !== this.options.layer) return
    const why =
      isDirectory(old) && entry.type === 'directory'
        ? 'occurs again in its layer; the later attributes count'
        : 'occurs again in its layer; the later one counts'
    this.remark('duplicate', entry, why)
  }

  private remark(kind: ReportKind, entry: TocEntry, detail: string): void {
    this.options.report.add(kind, this.options.layer, entry.path, detail)
  }

  private error(entry: TocEntry, why: string): OcimountError {
    return entryError(this.options.layer, entry.path, why)
  }
}

function extentsOf(entry: TocEntry, device: number): readonly ErofsExtent[] {
  const { size, dataOffset, sparse } = entry
  if (sparse === undefined) {
    return size === 0
      ? NO_EXTENTS
      : [{ fileOffset: 0, device, deviceOffset: dataOffset, length: size }]
  }
  return sparse
    .filter(({ length }) => length > 0)
    .map(({ fileOffset, deviceOffset, length }) => ({ fileOffset, device, deviceOffset, length }))
}

const NO_EXTENTS: readonly ErofsExtent[] = []
