// First pass of the writer: from a tree of names to a list of directories and the inodes they lead to.
// Iterative, since the depth of the tree is the image's choice.

import type { ByteString } from '../byte-string.js'
import { S_IFDIR, S_IFMT } from './format.js'
import type { ErofsNode } from './node.js'
import { misuse, planInode, type PlanContext, type PlannedInode } from './planned-inode.js'

/** A directory and where each of its names, in order, leads. */
export interface PlannedDirectory {
  readonly inode: PlannedInode
  readonly names: readonly ByteString[]
  readonly targets: readonly PlannedInode[]
}

export interface PlannedTree {
  readonly root: PlannedInode
  /** The root first; what is below a directory comes before its next sibling. */
  readonly directories: readonly PlannedDirectory[]
  /** Every inode once, the root first. */
  readonly inodes: readonly PlannedInode[]
}

/**
 * Flattens a tree and counts links. Two names of one object are hard links of one inode.
 *
 * @throws `INTERNAL` for a root that is not a directory, a directory with two names, and all that
 *   {@link planInode} rejects.
 */
export function walkTree(root: ErofsNode, context: PlanContext): PlannedTree {
  if (!isDirectory(root)) throw misuse(ROOT_NAME, 'the root is not a directory')
  const rootInode = planInode(root, ROOT_NAME, context)
  const inodes = [rootInode]
  /** Those that may be met again. */
  const known = new Map<ErofsNode, PlannedInode>([[root, rootInode]])
  const directories: PlannedDirectory[] = []
  const pending: { inode: PlannedInode; parent: PlannedInode }[] = [
    { inode: rootInode, parent: rootInode },
  ]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { inode, parent } = next
    const names = inode.names ?? []
    const targets: PlannedInode[] = []
    const firstSubdirectory = pending.length
    for (const name of names) {
      const child = inode.node.children?.get(name)
      if (child === undefined) {
        targets.push(name === '.' ? inode : parent)
        continue
      }
      const hasOneName = child.isLinked === false && !isDirectory(child)
      let target = hasOneName ? undefined : known.get(child)
      if (target === undefined) {
        target = planInode(child, name, context)
        inodes.push(target)
        if (!hasOneName) known.set(child, target)
        if (target.names !== undefined) pending.push({ inode: target, parent: inode })
      } else if (target.names !== undefined) {
        throw misuse(name, 'the directory has another name already')
      }
      targets.push(target)
      if (target.names === undefined) target.linkCount++
      else inode.linkCount++
    }
    directories.push({ inode, names, targets })
    reverseFrom(pending, firstSubdirectory)
  }
  return { root: rootInode, directories, inodes }
}

const ROOT_NAME = '/' as ByteString

function isDirectory(node: ErofsNode): boolean {
  return (node.mode & S_IFMT) === S_IFDIR
}

/** Turns the tail of a stack round, so that what was pushed first is popped first. */
function reverseFrom(stack: unknown[], start: number): void {
  for (let low = start, high = stack.length - 1; low < high; low++, high--) {
    const item = stack[low]
    stack[low] = stack[high]
    stack[high] = item
  }
}
