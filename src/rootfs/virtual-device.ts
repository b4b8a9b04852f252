// Reads the virtual device by reading the devices that its table names.

import { OcimountError } from '../errors.js'
import type { LayerDevice } from '../layer/device.js'
import type { NativeDevice } from '../native.js'
import { firstRowBehind, type VirtualTable } from './virtual-table.js'

/**
 * Shows content of other devices at addresses of its own, and zeros between.
 *
 * The other devices stay their owner's: closing this one leaves them open.
 */
export class VirtualDevice implements LayerDevice {
  readonly size: number
  private readonly table: VirtualTable
  private readonly devices: readonly LayerDevice[]
  private isClosed = false

  /** @param devices the layers' devices, in the order of the layers that the table's file lists */
  constructor(table: VirtualTable, devices: readonly LayerDevice[]) {
    this.size = table.size
    this.table = table
    this.devices = devices
  }

  async read(target: Buffer, deviceOffset: number): Promise<void> {
    const end = deviceOffset + target.length
    if (this.isClosed || deviceOffset < 0 || end > this.size) {
      const why = this.isClosed ? 'it is closed' : `it has ${this.size} bytes`
      throw readError(target.length, deviceOffset, why)
    }
    const { table } = this
    target.fill(0)
    let reads: Promise<void>[] = []
    for (let index = firstRowBehind(table, deviceOffset); index < table.rowCount; index++) {
      const row = table.row(index)
      if (row.virtualOffset >= end) break
      const from = Math.max(row.virtualOffset, deviceOffset)
      const to = Math.min(row.virtualOffset + row.length, end)
      const piece = target.subarray(from - deviceOffset, to - deviceOffset)
      reads.push(this.readLayer(row.device, piece, row.deviceOffset + from - row.virtualOffset))
      if (reads.length === MAX_PARALLEL_READS) {
        await allDone(reads)
        reads = []
      }
    }
    await allDone(reads)
  }

  native(firstLayer: number): NativeDevice {
    return { kind: 'virtual', size: this.size, rows: encodeRows(this.table, firstLayer) }
  }

  close(): Promise<void> {
    this.isClosed = true
    return Promise.resolve()
  }

  private async readLayer(index: number, piece: Buffer, deviceOffset: number): Promise<void> {
    const device = this.devices[index]
    if (device === undefined) {
      throw readError(
        piece.length,
        deviceOffset,
        `layer ${index} of ${this.devices.length} is named`,
      )
    }
    await device.read(piece, deviceOffset)
  }
}

/** Encodes the rows as the addon takes them; see native-bindings/index.d.ts. */
function encodeRows(table: VirtualTable, firstLayer: number): Buffer {
  const rows = Buffer.alloc(table.rowCount * NATIVE_ROW_SIZE)
  for (let index = 0; index < table.rowCount; index++) {
    const { virtualOffset, deviceOffset, length, device } = table.row(index)
    const at = index * NATIVE_ROW_SIZE
    rows.writeBigUInt64LE(BigInt(virtualOffset), at)
    rows.writeBigUInt64LE(BigInt(deviceOffset), at + 8)
    rows.writeBigUInt64LE(BigInt(length), at + 16)
    rows.writeUInt32LE(device + firstLayer, at + 24)
  }
  return rows
}

const NATIVE_ROW_SIZE = 32

/** A sparse map of 512-byte rows would otherwise start thousands of reads for one request. */
const MAX_PARALLEL_READS = 64

/** Waits for all before the first failure is passed on, so that none writes to the buffer afterwards. */
async function allDone(reads: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(reads)
  for (const result of results) {
    if (result.status === 'rejected') throw result.reason
  }
}

function readError(length: number, deviceOffset: number, why: string): OcimountError {
  return new OcimountError(
    'INTERNAL',
    `Cannot read ${length} bytes at ${deviceOffset} of the virtual device: ${why}`,
  )
}
