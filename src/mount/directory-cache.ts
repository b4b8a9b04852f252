// Remembers which inode a directory's path leads to. libfuse 2 names every file by its whole path, so without
// this each call would walk the tree from the root.

import type { ByteString } from '../byte-string.js'

/**
 * A bounded map from the paths of directories to their nids.
 *
 * Two generations: entries go into the young one; when it is full it becomes the old one, and what is asked for
 * again moves back. Nothing is ever stale, since an image does not change.
 */
export class DirectoryCache {
  readonly #capacity: number
  #young = new Map<ByteString, number>()
  #old = new Map<ByteString, number>()

  /** At most twice `capacity` entries are kept. */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Gives the nid for a path, or undefined when it is not known. */
  get(path: ByteString): number | undefined {
    const nid = this.#young.get(path)
    if (nid !== undefined) return nid
    const old = this.#old.get(path)
    if (old !== undefined) this.set(path, old)
    return old
  }

  set(path: ByteString, nid: number): void {
    if (this.#young.size >= this.#capacity) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(path, nid)
  }
}
