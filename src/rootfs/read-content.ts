// Reads what is in a file of a merged tree: the EROFS image says where the bytes are, the devices have them.

import type { ErofsImage, ErofsPiece } from '../erofs/reader.js'
import { OcimountError } from '../errors.js'
import type { LayerDevice } from '../layer/device.js'

/** A tree and the devices that its files point into, in the order of its device table. */
export interface ReadableTree {
  readonly image: ErofsImage
  readonly devices: readonly LayerDevice[]
}

export interface ContentRequest {
  /** A regular file. */
  readonly nid: number
  readonly target: Buffer
  readonly fileOffset: number
}

/**
 * Fills `target` with the bytes of a regular file from `fileOffset` on and gives how many there are: fewer only at
 * the end of the file.
 *
 * When it settles nothing writes to `target` any more, also after a failure.
 *
 * @throws OcimountError what {@link LayerDevice.read} throws, `CACHE_CORRUPT`
 */
export async function readContent(
  { image, devices }: ReadableTree,
  { nid, target, fileOffset }: ContentRequest,
): Promise<number> {
  const pieces = image.extents(nid, fileOffset, target.length)
  const readPiece = async (piece: ErofsPiece): Promise<void> => {
    const start = piece.fileOffset - fileOffset
    const part = target.subarray(start, start + piece.length)
    if (piece.device === 'zero') part.fill(0)
    else await deviceOf(devices, piece.device).read(part, piece.deviceOffset)
  }
  const [first] = pieces
  if (first === undefined) return 0
  if (pieces.length === 1) {
    await readPiece(first)
    return first.length
  }
  const outcomes = await Promise.allSettled(pieces.map(readPiece))
  let length = 0
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.status === 'rejected') throw outcome.reason
    length += pieces[index]?.length ?? 0
  }
  return length
}

function deviceOf(devices: readonly LayerDevice[], index: number): LayerDevice {
  const device = devices[index]
  if (device !== undefined) return device
  throw new OcimountError('CACHE_CORRUPT', `Cannot read a file: there is no device ${index}`)
}
