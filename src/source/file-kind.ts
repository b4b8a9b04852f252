// What a file is, by its first bytes and never by its name (checklist D-040): an archive, a compressed one, or
// one of the things that people take for an image, each with a word about what to do.

import { detectCompression } from '../compression/detect.js'
import type { DecompressibleKind } from '../compression/detect.js'
import { OcimountError } from '../errors.js'
import { BLOCK_SIZE, isChecksumRight, isZeroBlock, viewOf } from '../tar/header.js'

/**
 * Tells how an archive is compressed, `none` for a plain one.
 *
 * @param head the first 512 bytes or more, or all of a shorter file
 * @param what names the file in messages, escaped
 * @throws OcimountError `IMAGE_INVALID`, `IMAGE_UNSUPPORTED` or `COMPRESSION_UNSUPPORTED` for anything else
 */
export function identifyFile(head: Buffer, what: string): DecompressibleKind | 'none' {
  if (head.length === 0) throw refusal('IMAGE_INVALID', what, 'it is empty')
  const compression = detectCompression(head)
  switch (compression) {
    case 'gzip':
    case 'zstd':
      return compression
    case 'bzip2':
    case 'xz':
      throw refusal(
        'COMPRESSION_UNSUPPORTED',
        what,
        `it is compressed with ${compression}, which is not supported; decompress it first`,
      )
    case 'zip':
      throw refusal(
        'IMAGE_UNSUPPORTED',
        what,
        'zip archives are not supported; unpack it and name the directory',
      )
    case 'none':
      if (isTar(head)) return 'none'
      throw foreign(head, what)
  }
}

/** A header with a right checksum, or the end marker that an empty archive begins with. */
function isTar(head: Buffer): boolean {
  if (head.length < BLOCK_SIZE) return false
  return isZeroBlock(head, 0) || isChecksumRight(head, 0, viewOf(head))
}

function foreign(head: Buffer, what: string): OcimountError {
  const known = SIGNATURES.find(({ at, bytes }) => {
    return head.subarray(at, at + bytes.length).toString('latin1') === bytes
  })
  if (known !== undefined) return refusal('IMAGE_UNSUPPORTED', what, `it is ${known.name}`)
  if (/^[ \t\r\n]*[[{]/.test(head.toString('latin1'))) {
    return refusal(
      'IMAGE_UNSUPPORTED',
      what,
      'it is a JSON document; name the archive or directory that it belongs to',
    )
  }
  return refusal('IMAGE_INVALID', what, 'it is not a tar archive')
}

const SIGNATURES: readonly { at: number; bytes: string; name: string }[] = [
  { at: 32, bytes: 'SIF_MAGIC', name: 'a Singularity image (SIF), which is not supported' },
  { at: 0, bytes: 'hsqs', name: 'a squashfs filesystem; mount it with mount -t squashfs' },
  { at: 0, bytes: 'QFI\xfb', name: 'a virtual disk (qcow2), which is not supported' },
  { at: 0, bytes: '\x7fELF', name: 'an executable' },
]

function refusal(
  code: 'IMAGE_INVALID' | 'IMAGE_UNSUPPORTED' | 'COMPRESSION_UNSUPPORTED',
  what: string,
  why: string,
): OcimountError {
  return new OcimountError(code, `Cannot use ${what} as an image: ${why}`)
}
