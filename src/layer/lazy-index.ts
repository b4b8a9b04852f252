// Gets the table of contents of a lazy layer out of its blob: a request or two, a digest that the manifest vouches for, and what
// can be made of it.
//
//   eStargz       the end of the blob ──▶ footer ──▶ the member behind the content: a tar file with the JSON ──▶ digest of that
//   zstd:chunked  the stretch that the annotations name ──▶ digest of that ──▶ a zstd frame with the JSON

import { createHash } from 'node:crypto'
import type { ByteString } from '../byte-string.js'
import { decompress } from '../compression/decompress.js'
import { unzstdFrame } from '../compression/unzstd.js'
import { isOcimountError, messageOf, OcimountError } from '../errors.js'
import { digestAlgorithm, digestMismatch, digestOf, type Digest } from '../image/digest.js'
import type { LazyIndex, TocPosition } from '../image/lazy-index.js'
import { TarParser } from '../tar/parser.js'
import type { TarEntry } from '../tar/entry.js'
import type { BlobRanges } from './layer-blob.js'
import type { LazyBlob, UnlistedFile } from './lazy-layout.js'
import { MAX_TOC_JSON, readLazyToc, type LazyContents } from './lazy-toc.js'
import { LONGEST_FOOTER, parseStargzFooter } from './stargz-footer.js'

/** A blob that has a table of contents. */
export interface IndexedBlob {
  readonly index: LazyIndex
  readonly digest: Digest
  readonly size: number
  readonly ranges: BlobRanges
}

/** What cannot be used of a layer, although nobody lied: it has to be had whole. */
export class NotLazyError extends OcimountError {
  /** In words that follow a colon. */
  readonly why: string

  constructor(why: string, cause?: unknown) {
    const options = cause === undefined ? {} : { cause }
    super('IMAGE_UNSUPPORTED', `Cannot use a layer in parts: ${why}`, options)
    this.why = why
  }
}

/**
 * Reads the table of contents.
 *
 * @throws NotLazyError where there is none or it cannot be used; OcimountError `DIGEST_MISMATCH`, `REGISTRY_UNAVAILABLE`,
 *   `REGISTRY_DENIED`, `BLOB_MISSING`, `SIZE_MISMATCH`, `INTERRUPTED`
 */
export async function readLazyIndex(
  blob: IndexedBlob,
  signal: AbortSignal | undefined,
): Promise<LazyContents> {
  const get = (attempt: number): Promise<VerifiedToc> => {
    const ask: Ask = (offset, length) =>
      blob.ranges.read({ offset, length }, { signal, attempt, isUrgent: true })
    const { index } = blob
    return index.format === 'estargz' ? getStargz(blob, ask) : getZstd(blob, index.position, ask)
  }
  try {
    // What came wrong may come right from another server, or the next time.
    const { json, facts, file } = await get(0).catch((error: unknown) => {
      if (!isOcimountError(error, 'DIGEST_MISMATCH', ...UNUSABLE)) throw error
      return get(1)
    })
    return await readLazyToc(json, { ...facts, digest: blob.digest, size: blob.size }, file)
  } catch (error) {
    refuseWhole(error)
    if (!isOcimountError(error, ...UNUSABLE)) throw error
    throw new NotLazyError(`its table of contents cannot be used: ${messageOf(error)}`, error)
  }
}

/** Gives the stretch of a blob that {@link readLazyIndex} asks for first; undefined where it asks for none. */
export function firstPart(
  index: LazyIndex,
  size: number,
): { readonly offset: number; readonly length: number } | undefined {
  if (index.format === 'estargz') {
    const offset = Math.max(0, size - TAIL)
    return size < LONGEST_FOOTER ? undefined : { offset, length: size - offset }
  }
  const { offset, length } = index.position
  const isIn = length > 0 && length <= MAX_TOC_STORED && offset + length <= size
  return isIn ? { offset, length } : undefined
}

/** Gives the stretch that is asked for when the first one is there; undefined where that was enough, or is of no use. */
export function nextPart(
  index: LazyIndex,
  size: number,
  first: Buffer,
): { readonly offset: number; readonly length: number } | undefined {
  const footer = index.format === 'estargz' ? parseStargzFooter(first, size) : ''
  if (typeof footer === 'string') return undefined
  const length = size - footer.footerSize - footer.tocOffset
  const missing = Math.min(size - first.length - footer.tocOffset, length)
  if (missing <= 0 || length > MAX_TOC_STORED) return undefined
  return { offset: footer.tocOffset, length: missing }
}

/**
 * Makes sure that parts of a blob can be had.
 *
 * @throws NotLazyError where they cannot; OcimountError as {@link readLazyIndex}
 */
export async function probeRanges(
  ranges: BlobRanges,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await ranges.read({ offset: 0, length: 1 }, { signal, attempt: 0, isUrgent: true })
  } catch (error) {
    refuseWhole(error)
    throw error
  }
}

function refuseWhole(error: unknown): void {
  if (!isOcimountError(error) || error.details['ranges'] !== 'ignored') return
  throw new NotLazyError('its registry gives no parts of blobs', error)
}

const UNUSABLE = [
  ...(['LAYER_CORRUPT', 'TAR_CORRUPT', 'IMAGE_INVALID', 'LIMIT_EXCEEDED'] as const),
  'COMPRESSION_UNSUPPORTED',
] as const
/** Of what a table may be packed into. */
const MAX_TOC_STORED = 64 * 1024 * 1024
/** What is asked for at once with the footer: the table of a small layer lies in it. */
const TAIL = 64 * 1024
const TOC_NAME = 'stargz.index.json' as ByteString

/** Asks for a stretch of the blob. */
type Ask = (offset: number, length: number) => Promise<Buffer>

/** A table that has the digest which the manifest names. */
interface VerifiedToc {
  readonly json: Buffer
  readonly facts: Pick<LazyBlob, 'compression' | 'contentEnd'>
  readonly file?: UnlistedFile
}

async function getStargz(blob: IndexedBlob, ask: Ask): Promise<VerifiedToc> {
  const { size } = blob
  const part = firstPart(blob.index, size)
  if (part === undefined) throw new NotLazyError('it has no footer of eStargz')
  const tail = await ask(part.offset, part.length)
  const footer = parseStargzFooter(tail, size)
  if (typeof footer === 'string') throw new NotLazyError(footer)
  const { tocOffset, footerSize } = footer
  const length = size - footerSize - tocOffset
  refuseLong(length)
  const missing = nextPart(blob.index, size, tail)
  const front = missing === undefined ? Buffer.alloc(0) : await ask(missing.offset, missing.length)
  const rest = tail.subarray(Math.max(0, tocOffset - part.offset), tail.length - footerSize)
  const { json, innerOffset } = await unpackMember(Buffer.concat([front, rest]))
  verify(blob, json)
  const entry = { path: TOC_NAME, size: json.length }
  const sha256 = sha256Of(json, blob.index.tocDigest)
  return {
    json,
    file: { entry, compressedOffset: tocOffset, innerOffset, sha256 },
    facts: { compression: 'gzip', contentEnd: tocOffset },
  }
}

async function getZstd(blob: IndexedBlob, place: TocPosition, ask: Ask): Promise<VerifiedToc> {
  const { offset, length, jsonLength } = place
  refuseLong(length)
  if (jsonLength > MAX_TOC_JSON) throw tooLarge()
  if (length === 0 || offset < SKIPPABLE_HEADER || offset + length > blob.size) {
    throw new NotLazyError('its annotations lead to no table of contents')
  }
  const packed = await ask(offset, length)
  verify(blob, packed)
  const json = await unzstdFrame(packed, jsonLength, 'the table of contents')
  if (json.length !== jsonLength) throw new NotLazyError('its table is of another length')
  return { json, facts: { compression: 'zstd', contentEnd: offset - SKIPPABLE_HEADER } }
}

function verify({ index: { tocDigest }, digest }: IndexedBlob, bytes: Buffer): void {
  const actual = digestOf(bytes, digestAlgorithm(tocDigest))
  if (actual === tocDigest) return
  throw digestMismatch(`the table of contents of blob ${digest}`, tocDigest, actual)
}

/** In hex digits; as a rule it has just been compared. */
function sha256Of(bytes: Buffer, verified: Digest): string {
  const [algorithm = '', hex = ''] = verified.split(':')
  return algorithm === 'sha256' ? hex : createHash('sha256').update(bytes).digest('hex')
}

/** A frame that decoders step over; positions are those of what it holds. */
const SKIPPABLE_HEADER = 8

/** Unpacks the member: a tar of one file, whose header every writer makes in the same way. */
async function unpackMember(packed: Buffer): Promise<{ json: Buffer; innerOffset: number }> {
  const chunks: Buffer[] = []
  const maxOutput = MAX_TOC_JSON
  const what = 'the table of contents'
  for await (const chunk of decompress('gzip', once(packed), { what, maxOutput })) {
    chunks.push(chunk)
  }
  const bytes = Buffer.concat(chunks)
  const entries: TarEntry[] = []
  const parser = new TarParser({ onEntry: (entry) => entries.push(entry) }, { maxEntries: 1 })
  parser.write(bytes, 0)
  parser.end(bytes.length)
  const [entry] = entries
  if (entry?.path !== TOC_NAME || !isPlain(entry)) {
    throw new NotLazyError('its table of contents is not stored as eStargz has it')
  }
  const innerOffset = entry.dataOffset
  return { json: bytes.subarray(innerOffset, innerOffset + entry.size), innerOffset }
}

/** The header is covered by no digest: what it could say besides the usual would have to be believed. */
function isPlain({ type, mode, uid, gid, mtime, xattrs, sparse, size }: TarEntry): boolean {
  const sum = mode + uid + gid + Math.abs(mtime.seconds) + mtime.nanoseconds
  return type === 'file' && size > 0 && sum === 0 && xattrs === undefined && sparse === undefined
}

function refuseLong(length: number): void {
  if (length > MAX_TOC_STORED) throw tooLarge()
}

function tooLarge(): NotLazyError {
  return new NotLazyError('its table of contents is too large')
}

// eslint-disable-next-line @typescript-eslint/require-await -- what is at hand, for who takes what comes
async function* once(bytes: Buffer): AsyncGenerator<Buffer, void, undefined> {
  yield bytes
}
