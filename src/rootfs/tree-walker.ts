// Walks paths in the tree as an extractor confined to the root would: symbolic links are followed inside
// the image (B-056, B-058), `..` stops at the root, and what does not exist is taken as it is spelled, so
// that `missing/../x` is `x`. Of an entry's own path only the parent is ever walked (B-060).

import type { ByteString } from '../byte-string.js'
import { entryError, limitError, MAX_NAME, MAX_SYMLINKS, type RootfsLimits } from './limits.js'
import { impliedDirectory, isDirectory, isSymlink, type TreeNode } from './tree-node.js'

/** The entry for whose sake a path is walked; an error names it. */
export interface WalkSubject {
  readonly layer: number
  readonly path: ByteString
}

/** What one stack of layers has used up so far. */
export interface WalkBudget {
  inodes: number
  linkParts: number
}

/** Says whether a symbolic link must be taken for absent. */
export type IsLinkGone = (parent: TreeNode, name: ByteString) => boolean

/** Hears of something that is no directory and had to make way for one. */
export type OnReplaced = (name: ByteString, old: TreeNode) => void

/**
 * A position in the tree.
 *
 * One walker serves many walks, so that a walk makes no garbage; each forgets the one before.
 */
export class TreeWalker {
  private readonly limits: RootfsLimits
  private readonly budget: WalkBudget
  /** The directories from the root to the deepest one that exists. */
  private readonly trail: TreeNode[]
  /** The names below it, the first of which does not exist or is no directory. */
  private readonly missing: ByteString[] = []

  constructor(root: TreeNode, limits: RootfsLimits, budget: WalkBudget) {
    this.trail = [root]
    this.limits = limits
    this.budget = budget
  }

  /** The directory that the walk reached, if all of its path exists. */
  get directory(): TreeNode | undefined {
    return this.missing.length === 0 ? this.top : undefined
  }

  /** Whether something that is no directory stands in the way. */
  get isBlocked(): boolean {
    const name = this.missing[0]
    return name !== undefined && this.top.children?.has(name) === true
  }

  /**
   * Walks a path from the root, links in it included.
   *
   * Gives false where `isLinkGone` stopped it; the position is then without meaning.
   *
   * @throws `TAR_CORRUPT` after {@link MAX_SYMLINKS} links (B-057), `LIMIT_EXCEEDED` when the stack of
   *   layers as a whole walks through too many.
   */
  walk(path: string, subject: WalkSubject, isLinkGone?: IsLinkGone): boolean {
    const { trail, missing } = this
    trail.length = 1
    missing.length = 0
    let rest = path
    let links = 0
    for (let at = 0; at < rest.length;) {
      const slash = rest.indexOf('/', at)
      const end = slash === -1 ? rest.length : slash
      const name = rest.slice(at, end) as ByteString
      at = end + 1
      if (links > 0) this.spendLinkPart()
      if (name === '' || name === '.') continue
      if (name === '..') {
        if (missing.length > 0) missing.pop()
        else if (trail.length > 1) trail.pop()
        continue
      }
      const child = missing.length > 0 ? undefined : this.top.children?.get(name)
      if (child === undefined) {
        missing.push(name)
      } else if (isDirectory(child)) {
        trail.push(child)
      } else if (isSymlink(child) && child.target !== undefined) {
        if (isLinkGone?.(this.top, name) === true) return false
        if (++links > MAX_SYMLINKS) {
          const why = `its path goes through more than ${MAX_SYMLINKS} symbolic links`
          throw entryError(subject.layer, subject.path, why)
        }
        if (child.target.startsWith('/')) trail.length = 1
        rest = `${child.target}/${rest.slice(at)}`
        at = 0
      } else {
        missing.push(name)
      }
    }
    return true
  }

  /**
   * Makes the directories that the walk missed and gives the last one (B-054).
   *
   * @throws `TAR_CORRUPT` for a name that no directory can have, `LIMIT_EXCEEDED`.
   */
  make(subject: WalkSubject, onReplaced: OnReplaced): TreeNode {
    const { trail, missing } = this
    for (const name of missing) {
      checkImpliedName(name, subject)
      const parent = this.top
      const old = parent.children?.get(name)
      if (old !== undefined) onReplaced(name, old)
      this.spendInode()
      const node = impliedDirectory()
      addChild(parent, name, node)
      trail.push(node)
    }
    missing.length = 0
    if (trail.length > this.limits.maxDepth) {
      throw limitError('directories one below the other', this.limits.maxDepth)
    }
    return this.top
  }

  /** Counts an inode that is about to be made. */
  spendInode(): void {
    if (++this.budget.inodes > this.limits.maxInodes) {
      throw limitError('inodes', this.limits.maxInodes)
    }
  }

  private spendLinkPart(): void {
    if (++this.budget.linkParts > this.limits.maxLinkParts) {
      throw limitError("parts of symbolic links' targets to walk", this.limits.maxLinkParts)
    }
  }

  private get top(): TreeNode {
    const top = this.trail[this.trail.length - 1]
    if (top === undefined) throw new RangeError('a trail always holds the root')
    return top
  }
}

/** Puts a node under a name, in place of whatever has it. */
export function addChild(parent: TreeNode, name: ByteString, node: TreeNode): void {
  parent.children ??= new Map()
  parent.children.set(name, node)
}

/** Gives the part before the last slash; the parent of a name without one is the root, ''. */
export function parentOf(path: ByteString): ByteString {
  const slash = path.lastIndexOf('/')
  return (slash === -1 ? '' : path.slice(0, slash)) as ByteString
}

/** Gives the part after the last slash. */
export function baseOf(path: ByteString): ByteString {
  return path.slice(path.lastIndexOf('/') + 1) as ByteString
}

/** A link's target can ask for directories that no entry may be named after. */
function checkImpliedName(name: ByteString, { layer, path }: WalkSubject): void {
  if (name.length > MAX_NAME) {
    throw entryError(layer, path, 'a directory that it needs has a name longer than 255 bytes')
  }
  if (name.startsWith('.wh.')) {
    throw entryError(layer, path, 'a directory that it needs would be named like a whiteout')
  }
}
