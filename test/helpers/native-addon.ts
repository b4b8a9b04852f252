// The addon in tests, and gzip blobs for it.

import { createHash } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import {
  loadNative,
  nativeUnavailableReason,
  type FillOptions,
  type GzipIndexOptions,
  type GzipIndexResult,
  type NativeBindings,
} from '../../src/native.js'

export const PIECE_SIZE = 1 << 20
const SPAN_RECORD_SIZE = 64
const DIGEST_SIZE = 32

/** Says why the addon cannot be tested, or gives false. */
export function addonSkipReason(): string | false {
  return loadNative() === undefined ? `no addon: ${nativeUnavailableReason() ?? ''}` : false
}

/** The line that a command says first where the addon is missing; empty where it is there. */
export function slownessLine(what: 'mounted' | 'unpacked'): string {
  const why = nativeUnavailableReason()
  const slow = {
    mounted: 'mounted the portable way, which is slow',
    unpacked: 'gzip layers are unpacked whole, which is slow',
  }
  return why === undefined
    ? ''
    : `ocimount: warning: the addon is missing (${why}): ${slow[what]}\n`
}

export function addon(): NativeBindings {
  const native = loadNative()
  if (native === undefined) throw new Error(nativeUnavailableReason())
  return native
}

/** A directory of the test's own, not of tmpfs. */
export function fixtureDirectory(t: Test): string {
  const directory = mkdtempSync('/var/tmp/ocimount-native-')
  t.teardown(() => {
    rmSync(directory, { recursive: true, force: true })
  })
  return directory
}

/** Opens a file that has the given bytes; closed with the test. */
export function openFixture(t: Test, bytes: Buffer, flags = 'r'): number {
  const path = join(fixtureDirectory(t), 'file')
  writeFileSync(path, bytes)
  const fd = openSync(path, flags)
  t.teardown(() => {
    closeSync(fd)
  })
  return fd
}

export interface Indexed {
  readonly result: GzipIndexResult
  readonly output: Buffer
}

/** Indexes a whole file. */
export async function indexBlob(
  fd: number,
  length: number,
  options: Partial<GzipIndexOptions> = {},
): Promise<Indexed> {
  const chunks: Buffer[] = []
  let size = 0
  const job = new (addon().GzipIndexJob)(
    {
      blob: { fd, offset: 0, length },
      blobHash: 'sha256',
      deviceHash: 'sha256',
      spanSize: PIECE_SIZE,
      maxOutput: 1 << 30,
      ...options,
    },
    (chunk, deviceOffset) => {
      if (deviceOffset !== size) throw new Error(`a chunk at ${deviceOffset} instead of ${size}`)
      size += chunk.length
      chunks.push(Buffer.from(chunk))
    },
  )
  const result = await job.done
  return { result, output: Buffer.concat(chunks) }
}

/** What is needed to make pieces [firstPiece, firstPiece + count) again. */
export function fillOptions(
  blob: FillOptions['blob'],
  index: GzipIndexResult,
  { firstPiece, count, dataFd }: { firstPiece: number; count: number; dataFd: number },
): FillOptions {
  const { spans, windows, pieceDigests, deviceSize } = index
  const spanCount = spans.length / SPAN_RECORD_SIZE
  const deviceOffsetOf = (span: number): number =>
    Number(spans.readBigUInt64LE(span * SPAN_RECORD_SIZE))
  const end = Math.min((firstPiece + count) * PIECE_SIZE, deviceSize)
  let first = 0
  while (first + 1 < spanCount && deviceOffsetOf(first + 1) <= firstPiece * PIECE_SIZE) first++
  let behind = first + 1
  while (behind < spanCount && deviceOffsetOf(behind) < end) behind++
  const windowOffset = spans.readUInt32LE(first * SPAN_RECORD_SIZE + 16)
  const windowLength = spans.readUInt32LE(first * SPAN_RECORD_SIZE + 20)
  const isLast = behind === spanCount
  return {
    blob,
    spans: spans.subarray(first * SPAN_RECORD_SIZE, behind * SPAN_RECORD_SIZE),
    window: windows.subarray(windowOffset, windowOffset + windowLength),
    compressedEnd: isLast
      ? blob.length
      : Number(spans.readBigUInt64LE(behind * SPAN_RECORD_SIZE + 8)),
    bitsEnd: isLast ? 0 : spans.readUInt8(behind * SPAN_RECORD_SIZE + 25),
    dataFd,
    firstPiece,
    pieceDigests: pieceDigests.subarray(
      firstPiece * DIGEST_SIZE,
      (firstPiece + count) * DIGEST_SIZE,
    ),
    deviceSize,
  }
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/** Bytes as a layer has them: text, runs of zeros, noise. */
export function layerLikeBytes(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length)
  let state = seed >>> 0
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state >>> 8
  }
  for (let at = 0; at < length;) {
    const run = Math.min(length - at, 1 + (next() % 70_000))
    const kind = next() % 4
    if (kind === 1) bytes.fill(`line ${next() % 99} of text\n`, at, at + run)
    if (kind > 1) for (let i = at; i < at + run; i++) bytes[i] = kind === 2 ? next() % 20 : next()
    at += run
  }
  return bytes
}
