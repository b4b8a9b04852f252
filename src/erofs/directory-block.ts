// The content of a directory: blocks that each hold as many entries as fit, first the fixed parts, then the
// names back to back. Names ascend bytewise through the whole directory, '.' and '..' among them, so that
// both the blocks and the entries of one block can be searched by halving.

import type { ByteString } from '../byte-string.js'
import { BLOCK_SIZE, DIRENT_SIZE } from './format.js'

/** Gives the size of a directory: all of its blocks full but the last. */
export function directorySize(names: readonly ByteString[]): number {
  let full = 0
  let used = 0
  for (const name of names) {
    const needed = DIRENT_SIZE + name.length
    if (used + needed > BLOCK_SIZE) {
      full += BLOCK_SIZE
      used = 0
    }
    used += needed
  }
  return full + used
}

/** Finds the first name that does not fit any more in the block that `start` opens. */
export function endOfBlock(names: readonly ByteString[], start: number): number {
  let used = 0
  let index = start
  for (; index < names.length; index++) {
    used += DIRENT_SIZE + (names[index]?.length ?? 0)
    if (used > BLOCK_SIZE) break
  }
  return index
}

/** What an entry says of the inode it leads to. */
export interface DirentTarget {
  readonly nid: number
  /** Number of the kind in {@link FILE_TYPES}. */
  readonly fileType: number
}

/** Writes the names from `start` up to `end` as one block at `offset`. */
export function writeDirectoryBlock(
  { bytes, view }: { readonly bytes: Buffer; readonly view: DataView },
  offset: number,
  entries: {
    readonly names: readonly ByteString[]
    readonly targets: readonly DirentTarget[]
    readonly start: number
    readonly end: number
  },
): void {
  let position = offset
  const namesStart = (entries.end - entries.start) * DIRENT_SIZE
  let names = ''
  for (let index = entries.start; index < entries.end; index++) {
    const target = entries.targets[index]
    view.setUint32(position, target?.nid ?? 0, true)
    view.setUint16(position + 8, namesStart + names.length, true)
    view.setUint8(position + 10, target?.fileType ?? 0)
    position += DIRENT_SIZE
    names += entries.names[index] ?? ''
  }
  bytes.write(names, offset + namesStart, 'latin1')
}
