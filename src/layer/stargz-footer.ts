// The footer of an eStargz blob: an empty gzip member whose extra field says where the table of contents begins (checklist F.2).
//
//    51 bytes   1f 8b 08 04 00000000 00 ff   1a 00   "SG" 16 00   16 hex digits   "STARGZ"   01 00 00 ff ff   8 zeros
//    47 bytes   the same with 16 00 and without "SG" 16 00, by older writers
//    46 bytes   1f 8b … 15 00   "SG" 11 00   "STARGZEXTERNALTOC": the table is in another image

/** Bytes at the end of a blob that {@link parseStargzFooter} looks at. */
export const LONGEST_FOOTER = 51

/** Where the table of contents of an eStargz blob lies. */
export interface StargzFooter {
  readonly tocOffset: number
  readonly footerSize: number
}

/**
 * Reads the footer out of the end of a blob.
 *
 * @param blobSize of the whole blob; the table must lie in it
 * @returns the footer, or what is wrong, in words that follow a colon
 */
export function parseStargzFooter(tail: Buffer, blobSize: number): StargzFooter | string {
  for (const { size, extra } of FORMS) {
    const footer = tail.subarray(Math.max(0, tail.length - size))
    const payload = footer.subarray(PREFIX.length + extra.length, size - SUFFIX.length)
    const isFooter =
      footer.length === size &&
      startsWith(footer, Buffer.concat([PREFIX, extra])) &&
      footer.subarray(size - SUFFIX.length).equals(SUFFIX)
    if (!isFooter) continue
    const digits = /^([0-9a-f]{16})STARGZ$/.exec(payload.toString('latin1'))?.[1]
    const tocOffset = Number.parseInt(digits ?? '', 16)
    if (tocOffset > 0 && tocOffset < blobSize - size) return { tocOffset, footerSize: size }
    return 'its footer leads to no table of contents'
  }
  const isExternal = tail.includes('STARGZEXTERNALTOC')
  return isExternal ? 'its table of contents is in another image' : 'it has no footer of eStargz'
}

const PREFIX = Buffer.from([0x1f, 0x8b, 0x08, 0x04, 0, 0, 0, 0, 0, 0xff])
const SUFFIX = Buffer.from([0x01, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0])
const FORMS = [
  { size: 51, extra: Buffer.from([0x1a, 0, 0x53, 0x47, 0x16, 0]) },
  { size: 47, extra: Buffer.from([0x16, 0]) },
]

function startsWith(bytes: Buffer, start: Buffer): boolean {
  return bytes.subarray(0, start.length).equals(start)
}
