// A variant of an image whose devices lie inside larger files: the same tree with the same inode numbers, and every chunk's
// address moved by where its old device begins in the file that is the new one.

import { OcimountError } from '../errors.js'
import { corrupt, checkInside } from './corrupt.js'
import { checkDevices, writeChecksum, writeDeviceTable } from './device-table.js'
import { DirectoryReader } from './directory-reader.js'
import {
  alignUp,
  BLOCK_BITS,
  BLOCK_SIZE,
  CHUNK_BLKBITS_MASK,
  CHUNK_FORMAT_INDEXES,
  CHUNK_INDEX_SIZE,
  DEVICE_SLOT_SIZE,
  INODE_SLOT_SIZE,
  NULL_BLKADDR,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  SB,
  SUPERBLOCK_OFFSET,
} from './format.js'
import { endOfXattrs, readInode, type StoredInode } from './inode-reader.js'
import type { ErofsDevice } from './node.js'
import { readSuperblock } from './superblock-reader.js'

/** Where an old device lies. */
export interface DeviceMove {
  /** 0-based number of a new device. */
  readonly device: number
  /** Where in it the old one begins: a multiple of 512. */
  readonly offset: number
}

export interface RelocatedImage {
  readonly image: Buffer
  /** For each new device the end of the last block that a file has there: what is before it must exist, in whole blocks. */
  readonly ends: readonly number[]
}

/**
 * Copies an image of `writeErofs` for other devices.
 *
 * @param moves one for each device of the image
 * @throws `CACHE_CORRUPT` where the bytes are no such image, also where a file reaches outside its device; `INTERNAL` for moves
 *   that are none; `LIMIT_EXCEEDED` for a new device that is larger than 2 TiB
 */
export function relocateImage(
  bytes: Buffer,
  moves: readonly DeviceMove[],
  devices: readonly ErofsDevice[],
): RelocatedImage {
  const { size, rootNid, devices: oldDevices } = readSuperblock(bytes)
  checkDevices(devices)
  checkMoves(moves, oldDevices, devices)
  const image = Buffer.from(bytes.subarray(0, size))
  const ends = devices.map(() => 0)
  for (const inode of files(bytes, { size, rootNid })) {
    moveChunks(image, inode, { oldDevices, moves, ends })
  }
  const superblock = image.subarray(SUPERBLOCK_OFFSET)
  const table = superblock.readUInt16LE(SB.devtSlotoff) * DEVICE_SLOT_SIZE
  image.fill(0, table, table + oldDevices.length * DEVICE_SLOT_SIZE)
  writeDeviceTable(image, table, devices)
  superblock.writeUInt16LE(devices.length, SB.extraDevices)
  writeChecksum(image)
  return { image, ends }
}

function checkMoves(
  moves: readonly DeviceMove[],
  oldDevices: readonly ErofsDevice[],
  devices: readonly ErofsDevice[],
): void {
  const areSound =
    moves.length === oldDevices.length &&
    // The new table takes the place of the old one, and none where there is one would be another feature.
    devices.length <= moves.length &&
    (devices.length > 0 || moves.length === 0) &&
    moves.every(
      ({ device, offset }) =>
        device in devices &&
        Number.isSafeInteger(offset) &&
        offset >= 0 &&
        offset % BLOCK_SIZE === 0,
    )
  if (areSound) return
  throw new OcimountError('INTERNAL', 'Cannot relocate an EROFS image: its devices are others')
}

/** Gives every regular file with content once, whatever its names. */
function* files(
  bytes: Buffer,
  { size, rootNid }: { readonly size: number; readonly rootNid: number },
): Generator<StoredInode, void, undefined> {
  // Forged directories may form a circle.
  const seen = new Uint8Array(Math.ceil(size / INODE_SLOT_SIZE))
  const pending = [rootNid]
  const found: number[] = []
  const visit = (nid: number, type: number): void => {
    if ((type !== S_IFDIR && type !== S_IFREG) || seen[nid] === 1) return
    seen[nid] = 1
    if (type === S_IFDIR) pending.push(nid)
    else found.push(nid)
  }
  seen[rootNid] = 1
  for (let nid = pending.pop(); nid !== undefined; nid = pending.pop()) {
    const directory = readInode(bytes, size, nid)
    checkKind(directory, S_IFDIR)
    new DirectoryReader(bytes, size, directory).forEachTarget(visit)
    for (const one of found.splice(0)) {
      const inode = readInode(bytes, size, one)
      checkKind(inode, S_IFREG)
      if (inode.size > 0) yield inode
    }
  }
}

function checkKind({ nid, mode }: StoredInode, kind: number): void {
  if ((mode & S_IFMT) !== kind) throw corrupt(`inode ${nid} is of another kind than its name says`)
}

interface Relocation {
  readonly oldDevices: readonly ErofsDevice[]
  readonly moves: readonly DeviceMove[]
  readonly ends: number[]
}

function moveChunks(
  image: Buffer,
  inode: StoredInode,
  { oldDevices, moves, ends }: Relocation,
): void {
  if ((inode.union & ~CHUNK_BLKBITS_MASK) !== CHUNK_FORMAT_INDEXES) {
    throw corrupt(`inode ${inode.nid} has a chunk format that is never written`)
  }
  const chunkSize = 2 ** (BLOCK_BITS + (inode.union & CHUNK_BLKBITS_MASK))
  const count = Math.ceil(inode.size / chunkSize)
  const index = alignUp(endOfXattrs(inode), CHUNK_INDEX_SIZE)
  checkInside(index, count * CHUNK_INDEX_SIZE, image.length, 'a chunk index')
  for (let chunk = 0; chunk < count; chunk++) {
    const position = index + chunk * CHUNK_INDEX_SIZE
    const block = image.readUInt32LE(position + 4)
    if (block === NULL_BLKADDR) continue
    const old = image.readUInt16LE(position + 2) - 1
    const move = moves[old]
    const length = alignUp(Math.min(chunkSize, inode.size - chunk * chunkSize), BLOCK_SIZE)
    const end = block * BLOCK_SIZE + length
    if (move === undefined || end > (oldDevices[old]?.size ?? 0)) {
      throw corrupt(`a chunk of inode ${inode.nid} is outside its device`)
    }
    ends[move.device] = Math.max(ends[move.device] ?? 0, move.offset + end)
    const moved = block + move.offset / BLOCK_SIZE
    if (moved >= NULL_BLKADDR) {
      throw new OcimountError('INTERNAL', 'Cannot relocate an EROFS image: an offset is too large')
    }
    image.writeUInt16LE(move.device + 1, position + 2)
    image.writeUInt32LE(moved, position + 4)
  }
}
