// The report's form in the cached tree: for every remark u32 layer, u16 length of the kind, u16 length of
// the path, u32 length of the detail, then kind (ASCII), path (bytes) and detail (UTF-8). Little endian.

import { byteString } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import type { Report, ReportEntry } from './report.js'

export function encodeReport({ entries }: Report): Buffer {
  const parts: Buffer[] = []
  for (const { layer, kind, path, detail } of entries) {
    const head = Buffer.alloc(HEAD_SIZE)
    const detailBytes = Buffer.from(detail, 'utf8')
    head.writeUInt32LE(layer, 0)
    head.writeUInt16LE(kind.length, 4)
    head.writeUInt16LE(path.length, 6)
    head.writeUInt32LE(detailBytes.length, 8)
    parts.push(head, Buffer.from(kind, 'latin1'), Buffer.from(path, 'latin1'), detailBytes)
  }
  return Buffer.concat(parts)
}

/**
 * Decodes what {@link encodeReport} wrote.
 *
 * @param total how many remarks there were before the list was cut
 * @throws `CACHE_CORRUPT`
 */
export function decodeReport(bytes: Buffer, total: number): Report {
  const entries: ReportEntry[] = []
  for (let offset = 0; offset < bytes.length;) {
    const body = offset + HEAD_SIZE
    if (body > bytes.length) throw corrupt()
    const pathAt = body + bytes.readUInt16LE(offset + 4)
    const detailAt = pathAt + bytes.readUInt16LE(offset + 6)
    const end = detailAt + bytes.readUInt32LE(offset + 8)
    if (end > bytes.length) throw corrupt()
    entries.push({
      kind: bytes.toString('latin1', body, pathAt),
      layer: bytes.readUInt32LE(offset),
      path: byteString(bytes.subarray(pathAt, detailAt)),
      detail: bytes.toString('utf8', detailAt, end),
    })
    offset = end
  }
  if (entries.length > total) throw corrupt()
  return { entries, total }
}

const HEAD_SIZE = 12

function corrupt(): OcimountError {
  return new OcimountError(
    'CACHE_CORRUPT',
    'Cannot use the report of a cached tree: it is cut short',
  )
}
