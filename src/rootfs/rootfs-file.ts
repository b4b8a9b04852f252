// The cached tree of one stack of layers: an EROFS image that drivers map or mount, and behind it what
// EROFS has no place for. The seal around it is the cache's. All numbers are little endian.
//
//   0            EROFS image, a multiple of 4096 bytes
//   imageSize    virtual rows, 32 bytes each: u64 virtualOffset, u64 deviceOffset, u64 length, u32 device, u32 0
//                devices: u64 size, u16 length of the layer id, the id in ASCII
//                the stack, base first: u16 number of a device per layer
//                report (see report-codec.ts)
//   end - 72     footer:
//     0  8 bytes "OCIMROOT"        28  u32 virtual rows         44  u32 bytes of the report
//     8  u32 writer version        32  u64 size of the virtual  48  u32 inodes
//    12  u32 devices                   device                   52  u32 regular files
//    16  u64 imageSize             40  u32 remarks in all       56  u64 bytes of them
//    24  u32 layers in the stack                             64  u32 names that are not UTF-8
//                                                            68  u32 0
//
// A second mount decodes the footer and some strings; the report is decoded when somebody asks for it.

import { createHash } from 'node:crypto'
import { OcimountError } from '../errors.js'
import type { AppliedLayers, DeviceLayer } from './apply-layers.js'
import type { RootfsCounts } from './place-content.js'
import { decodeReport, encodeReport } from './report-codec.js'
import type { Report } from './report.js'
import type { VirtualRow, VirtualTable } from './virtual-table.js'

/**
 * Names the version of everything that decides the bytes of the file: how layers are applied, how EROFS is
 * written, and the form described above. It is part of the file's path in the cache, so raising it makes
 * every tree anew.
 */
export const ROOTFS_WRITER_VERSION = 1

/** What the file says besides the tree. */
export interface RootfsInfo {
  /** The layers in order, base first, repeated ones included; the report counts in these. */
  readonly layerIds: readonly string[]
  /** The devices of the EROFS image, less the virtual one. */
  readonly devices: readonly DeviceLayer[]
  /** The last device of the EROFS image; there is none where its size is 0. */
  readonly virtual: VirtualTable
  readonly counts: RootfsCounts
  /** Decodes the report. @throws `CACHE_CORRUPT` */
  readReport(): Report
}

export interface RootfsFile {
  /** The EROFS image, a view of the file's bytes. */
  readonly image: Buffer
  readonly info: RootfsInfo
}

/** Gives the 64 hex digits that name a stack of layers, whatever options it is mounted with. */
export function rootfsKey(layerIds: readonly string[]): string {
  const hash = createHash('sha256').update('ocimount rootfs\n')
  for (const layerId of layerIds) hash.update(`${layerId.length}:${layerId}\n`)
  return hash.digest('hex')
}

/** Gives the parts of the file in order, for the cache to seal. */
export function encodeRootfsFile(
  image: Buffer,
  applied: Omit<AppliedLayers, 'root'>,
): readonly Buffer[] {
  const { layerIds, devices, virtual, report, counts } = applied
  const padding = Buffer.alloc(
    (IMAGE_ALIGNMENT - (image.length % IMAGE_ALIGNMENT)) % IMAGE_ALIGNMENT,
  )
  const reportBytes = encodeReport(report)
  const footer = Buffer.alloc(FOOTER_SIZE)
  footer.write(MAGIC, 0, 'latin1')
  footer.writeUInt32LE(ROOTFS_WRITER_VERSION, 8)
  footer.writeUInt32LE(devices.length, 12)
  footer.writeBigUInt64LE(BigInt(image.length + padding.length), 16)
  footer.writeUInt32LE(layerIds.length, 24)
  footer.writeUInt32LE(virtual.rowCount, 28)
  footer.writeBigUInt64LE(BigInt(virtual.size), 32)
  footer.writeUInt32LE(report.total, 40)
  footer.writeUInt32LE(reportBytes.length, 44)
  footer.writeUInt32LE(counts.inodes, 48)
  footer.writeUInt32LE(counts.files, 52)
  footer.writeBigUInt64LE(BigInt(counts.bytes), 56)
  footer.writeUInt32LE(counts.notUtf8, 64)
  return [
    image,
    padding,
    encodeRows(virtual),
    ...devices.map(encodeDevice),
    encodeStack(layerIds, devices),
    reportBytes,
    footer,
  ]
}

/**
 * Takes the file apart without copying the image or decoding the report.
 *
 * @param bytes the file without the seal, which was checked; they must not change
 * @throws `CACHE_CORRUPT` for anything that {@link encodeRootfsFile} does not write
 */
export function decodeRootfsFile(bytes: Buffer): RootfsFile {
  const footer = bytes.subarray(Math.max(0, bytes.length - FOOTER_SIZE))
  if (footer.length < FOOTER_SIZE || footer.toString('latin1', 0, 8) !== MAGIC) {
    throw corrupt('it has no footer')
  }
  if (footer.readUInt32LE(8) !== ROOTFS_WRITER_VERSION) throw corrupt('it is of another version')
  const imageSize = readSafe(footer, 16)
  if (imageSize % IMAGE_ALIGNMENT !== 0) throw corrupt('its image is not padded')
  const section = new SectionReader(bytes, imageSize, bytes.length - FOOTER_SIZE)
  const rows = section.take(footer.readUInt32LE(28) * ROW_SIZE)
  const devices = readDevices(section, footer.readUInt32LE(12))
  const layerIds = readStack(section, footer.readUInt32LE(24), devices)
  const report = section.take(footer.readUInt32LE(44))
  section.end()
  const total = footer.readUInt32LE(40)
  return {
    image: bytes.subarray(0, imageSize),
    info: {
      layerIds,
      devices,
      virtual: readTable(rows, readSafe(footer, 32), devices),
      counts: {
        inodes: footer.readUInt32LE(48),
        files: footer.readUInt32LE(52),
        bytes: readSafe(footer, 56),
        notUtf8: footer.readUInt32LE(64),
      },
      readReport: () => decodeReport(report, total),
    },
  }
}

const MAGIC = 'OCIMROOT'
const FOOTER_SIZE = 72
const ROW_SIZE = 32
const DEVICE_HEAD_SIZE = 10
/** What mmap() and the kernel's EROFS want to see whole. */
const IMAGE_ALIGNMENT = 4096

function encodeRows(virtual: VirtualTable): Buffer {
  const rows = Buffer.alloc(virtual.rowCount * ROW_SIZE)
  for (let index = 0; index < virtual.rowCount; index++) {
    const { virtualOffset, deviceOffset, length, device } = virtual.row(index)
    const at = index * ROW_SIZE
    rows.writeBigUInt64LE(BigInt(virtualOffset), at)
    rows.writeBigUInt64LE(BigInt(deviceOffset), at + 8)
    rows.writeBigUInt64LE(BigInt(length), at + 16)
    rows.writeUInt32LE(device, at + 24)
  }
  return rows
}

function encodeDevice({ layerId, size }: DeviceLayer): Buffer {
  const bytes = Buffer.alloc(DEVICE_HEAD_SIZE + layerId.length)
  bytes.writeBigUInt64LE(BigInt(size), 0)
  bytes.writeUInt16LE(layerId.length, 8)
  bytes.write(layerId, DEVICE_HEAD_SIZE, 'latin1')
  return bytes
}

function encodeStack(layerIds: readonly string[], devices: readonly DeviceLayer[]): Buffer {
  const numbers = new Map(devices.map(({ layerId }, number) => [layerId, number]))
  const bytes = Buffer.alloc(layerIds.length * 2)
  for (const [index, layerId] of layerIds.entries()) {
    bytes.writeUInt16LE(numbers.get(layerId) ?? devices.length, index * 2)
  }
  return bytes
}

function readDevices(section: SectionReader, count: number): DeviceLayer[] {
  const devices: DeviceLayer[] = []
  while (devices.length < count) {
    const head = section.take(DEVICE_HEAD_SIZE)
    const layerId = section.take(head.readUInt16LE(8)).toString('latin1')
    devices.push({ layerId, size: readSafe(head, 0) })
  }
  return devices
}

function readStack(
  section: SectionReader,
  count: number,
  devices: readonly DeviceLayer[],
): string[] {
  const bytes = section.take(count * 2)
  const layerIds: string[] = []
  while (layerIds.length < count) {
    const device = devices[bytes.readUInt16LE(layerIds.length * 2)]
    if (device === undefined) throw corrupt('its stack names a layer that it does not have')
    layerIds.push(device.layerId)
  }
  return layerIds
}

/** Checks all rows at once, so that reading through them needs no checks; most files have none. */
function readTable(rows: Buffer, size: number, devices: readonly DeviceLayer[]): VirtualTable {
  const rowCount = rows.length / ROW_SIZE
  const row = (index: number): VirtualRow => ({
    virtualOffset: readSafe(rows, index * ROW_SIZE),
    deviceOffset: readSafe(rows, index * ROW_SIZE + 8),
    length: readSafe(rows, index * ROW_SIZE + 16),
    device: rows.readUInt32LE(index * ROW_SIZE + 24),
  })
  let end = 0
  for (let index = 0; index < rowCount; index++) {
    const { virtualOffset, deviceOffset, length, device } = row(index)
    const deviceSize = devices[device]?.size ?? 0
    if (
      virtualOffset < end ||
      length === 0 ||
      length > size - virtualOffset ||
      length > deviceSize - deviceOffset
    ) {
      throw corrupt(`its virtual row ${index} is out of bounds`)
    }
    end = virtualOffset + length
  }
  return { size, rowCount, row }
}

/** Takes consecutive pieces of the part between image and footer. */
class SectionReader {
  private readonly bytes: Buffer
  private offset: number
  private readonly limit: number

  constructor(bytes: Buffer, offset: number, limit: number) {
    this.bytes = bytes
    this.offset = offset
    this.limit = limit
  }

  take(length: number): Buffer {
    if (length > this.limit - this.offset) throw corrupt('it is too short')
    this.offset += length
    return this.bytes.subarray(this.offset - length, this.offset)
  }

  end(): void {
    if (this.offset !== this.limit) throw corrupt('it is too long')
  }
}

function readSafe(bytes: Buffer, offset: number): number {
  const value = Number(bytes.readBigUInt64LE(offset))
  if (!Number.isSafeInteger(value)) throw corrupt('a number in it is out of range')
  return value
}

function corrupt(why: string): OcimountError {
  return new OcimountError('CACHE_CORRUPT', `Cannot use a cached tree: ${why}`)
}
