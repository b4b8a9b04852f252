// Extended attributes on their way to disk. A (name, value) that several inodes carry is written once, in
// the shared area, and referred to by 32-bit ids; all others lie behind their inode.

import { escapeName, type ByteString } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import {
  alignUp,
  MAX_SHARED_XATTRS,
  MAX_XATTR_BODY,
  XATTR_ENTRY_SIZE,
  XATTR_HEADER_SIZE,
} from './format.js'
import { splitXattrName, xattrProblem, xattrValueToStore } from './xattr-name.js'

interface Attribute {
  readonly name: ByteString
  readonly index: number
  readonly suffix: ByteString
  readonly value: Buffer
  /** Bytes on disk, padding included. */
  readonly size: number
  /** Inodes that carry it. */
  count: number
  isShared: boolean
  /** Offset in the shared area, where it is shared. */
  offset: number
}

/** The extended attributes of one inode, in the order of their names. */
export interface XattrSet {
  /** Bytes behind the inode; known once the table is laid out. */
  size: number
  readonly attributes: readonly Attribute[]
  shared: readonly Attribute[]
  inline: readonly Attribute[]
}

/** Collects the attributes of all inodes, then decides what is shared, then writes. */
export class XattrTable {
  readonly #known = new Map<ByteString, Map<string, Attribute>>()
  readonly #sets: XattrSet[] = []
  #sharedAttributes: readonly Attribute[] = []
  /** Bytes of the shared area; known once laid out. */
  sharedSize = 0

  /**
   * Takes in the attributes of one inode.
   *
   * @throws `INTERNAL` for one that {@link xattrProblem} rejects.
   */
  add(xattrs: ReadonlyMap<ByteString, Buffer>): XattrSet {
    const attributes = [...xattrs.keys()].sort().map((name) => {
      const attribute = this.#intern(name, xattrs.get(name) ?? Buffer.alloc(0))
      attribute.count++
      return attribute
    })
    const set: XattrSet = { size: 0, attributes, shared: [], inline: [] }
    this.#sets.push(set)
    return set
  }

  /**
   * Decides which attributes are shared and gives every set its size.
   *
   * @throws `LIMIT_EXCEEDED` when an inode has more than EROFS can hold.
   */
  layOut(): void {
    for (const set of this.#sets) splitSet(set)
    const shared = [...this.#known.values()]
      .flatMap((values) => [...values.values()])
      .filter((attribute) => attribute.isShared)
    shared.sort(compareAttributes)
    for (const attribute of shared) {
      attribute.offset = this.sharedSize
      this.sharedSize += attribute.size
    }
    this.#sharedAttributes = shared
  }

  /** Writes the shared area. */
  writeShared(image: Buffer, areaOffset: number): void {
    for (const attribute of this.#sharedAttributes) {
      writeAttribute(image, areaOffset + attribute.offset, attribute)
    }
  }

  #intern(name: ByteString, value: Buffer): Attribute {
    let values = this.#known.get(name)
    if (values === undefined) {
      values = new Map<string, Attribute>()
      this.#known.set(name, values)
    }
    const problem = xattrProblem(name, value)
    const split = splitXattrName(name)
    if (problem !== undefined || split === undefined) {
      throw new OcimountError(
        'INTERNAL',
        `Cannot write extended attribute ${escapeName(name)}: ${problem ?? 'unknown name'}`,
      )
    }
    const stored = xattrValueToStore(split.index, value)
    const key = stored.toString('latin1')
    let attribute = values.get(key)
    if (attribute === undefined) {
      const size = alignUp(XATTR_ENTRY_SIZE + split.suffix.length + stored.length, 4)
      attribute = { name, ...split, value: stored, size, count: 0, isShared: false, offset: 0 }
      values.set(key, attribute)
    }
    return attribute
  }
}

/** Writes what lies behind an inode: the header, the ids of the shared and the inline attributes. */
export function writeXattrSet(image: Buffer, offset: number, set: XattrSet): void {
  image[offset + 4] = set.shared.length
  let position = offset + XATTR_HEADER_SIZE
  for (const attribute of set.shared) {
    position = image.writeUInt32LE(attribute.offset / 4, position)
  }
  for (const attribute of set.inline) {
    writeAttribute(image, position, attribute)
    position += attribute.size
  }
}

/**
 * Divides an inode's attributes. Those that others have too are shared, as far as the 8-bit count goes; when
 * the rest is too much for the inode, its largest ones move to the shared area though nobody shares them.
 */
function splitSet(set: XattrSet): void {
  const bySize = [...set.attributes].sort((a, b) => b.size - a.size || compareAttributes(a, b))
  const shared = new Set(
    bySize.filter((attribute) => attribute.count > 1).slice(0, MAX_SHARED_XATTRS),
  )
  const sizeOfBody = (): number => {
    let size = XATTR_HEADER_SIZE
    for (const attribute of set.attributes) size += shared.has(attribute) ? 4 : attribute.size
    return size
  }
  set.size = sizeOfBody()
  for (const attribute of bySize) {
    if (set.size <= MAX_XATTR_BODY || shared.size === MAX_SHARED_XATTRS) break
    shared.add(attribute)
    set.size = sizeOfBody()
  }
  if (set.size > MAX_XATTR_BODY) {
    throw new OcimountError(
      'LIMIT_EXCEEDED',
      `Cannot write ${set.attributes.length} extended attributes of one inode: they are more than EROFS can hold`,
    )
  }
  for (const attribute of shared) attribute.isShared = true
  set.shared = set.attributes.filter((attribute) => shared.has(attribute))
  set.inline = set.attributes.filter((attribute) => !shared.has(attribute))
}

function compareAttributes(a: Attribute, b: Attribute): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1
  return Buffer.compare(a.value, b.value)
}

function writeAttribute(image: Buffer, offset: number, attribute: Attribute): void {
  image[offset] = attribute.suffix.length
  image[offset + 1] = attribute.index
  image.writeUInt16LE(attribute.value.length, offset + 2)
  image.write(attribute.suffix, offset + XATTR_ENTRY_SIZE, 'latin1')
  attribute.value.copy(image, offset + XATTR_ENTRY_SIZE + attribute.suffix.length)
}
