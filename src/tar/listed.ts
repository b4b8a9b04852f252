// Members that the addon has listed (native-bindings/src/tar_listing.h): those whose header is as every archiver writes it, so
// that nothing is left to decide. The parser reads all others.

import type { ByteString } from '../byte-string.js'
import type { TarEntryType } from './entry.js'
import { BLOCK_SIZE, viewOf } from './header.js'
import type { EntryDraft } from './member.js'

/** Listed members in order; see `TarListing` in native-bindings/index.d.ts. */
export interface ListedMembers {
  readonly numbers: Buffer
  readonly names: Buffer
}

/** Calls `take` for each of the members; what it is given is its own. */
export function readListed(
  { numbers, names }: ListedMembers,
  take: (entry: EntryDraft) => void,
): void {
  const view = viewOf(numbers)
  const number = (at: number): number => view.getFloat64(at, IS_LITTLE_ENDIAN)
  const text = names.toString('latin1')
  let nameAt = 0
  for (let at = 0; at < numbers.length; at += RECORD_SIZE) {
    const type = TYPES[number(at)]
    if (type === undefined) throw new RangeError('only files are listed')
    const headerOffset = number(at + 48)
    const targetAt = nameAt + number(at + 72)
    const end = targetAt + number(at + 80)
    take({
      path: text.slice(nameAt, targetAt) as ByteString,
      type,
      mode: number(at + 8),
      uid: number(at + 16),
      gid: number(at + 24),
      mtime: { seconds: number(at + 40), nanoseconds: 0 },
      size: number(at + 32),
      headerOffset,
      dataOffset: headerOffset + BLOCK_SIZE,
      linkTarget: text.slice(targetAt, end) as ByteString,
      devMajor: number(at + 56),
      devMinor: number(at + 64),
      xattrs: undefined,
      sparse: undefined,
    })
    nameAt = end
  }
}

/** Gives how many there are. */
export function countListed({ numbers }: ListedMembers): number {
  return numbers.length / RECORD_SIZE
}

const RECORD_SIZE = 11 * 8
/** The addon writes numbers as the processor holds them. */
const IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1
const TYPES: Readonly<Record<number, TarEntryType>> = {
  0x30: 'file',
  0x31: 'hardlink',
  0x32: 'symlink',
  0x33: 'char',
  0x34: 'block',
  0x35: 'directory',
  0x36: 'fifo',
}
