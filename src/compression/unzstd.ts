// zstd (RFC 8878). Frames are found by zstd-frames.ts; blocks are decoded, and content checksums compared, by libzstd:
// the one in node:zlib from Node 22.15 on, the WebAssembly build of the package zstddec before that.
// Measured on a 671 MB layer: node:zlib 880 MB/s, zstddec 450 MB/s (fzstd, pure JavaScript without checksums, 140).

import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import type { ZSTDDecoder } from 'zstddec/stream'

import { OcimountError, messageOf } from '../errors.js'
import { OUTPUT_CHUNK, type ZlibEngine, runEngine } from './engine.js'
import { ZstdFrameCutter, type ZstdPiece } from './zstd-frames.js'

/** Which libzstd decodes. */
export type ZstdBackend = 'node' | 'wasm'

/** Decompresses zstd; see {@link decompress} for the contract. */
export function unzstd(
  input: AsyncIterable<Buffer>,
  what: string,
  backend: ZstdBackend = defaultZstdBackend(),
): AsyncGenerator<Buffer, void> {
  const pieces = cut(input, what)
  return backend === 'node' ? decodeWithNode(pieces, what) : decodeWithWasm(pieces, what)
}

/** Gives the faster backend that this Node.js has. */
export function defaultZstdBackend(): ZstdBackend {
  return zlibWithZstd.createZstdDecompress === undefined ? 'wasm' : 'node'
}

// Missing below Node 22.15, and from the types of Node 20.
interface ZlibWithZstd {
  readonly createZstdDecompress?: (options: { chunkSize: number }) => ZlibEngine
  readonly zstdDecompress?: (
    bytes: Buffer,
    options: { maxOutputLength: number },
    done: (error: Error | null, output: Buffer) => void,
  ) => void
  readonly zstdDecompressSync?: (bytes: Buffer, options: { maxOutputLength: number }) => Buffer
}
const zlibWithZstd = zlib as unknown as ZlibWithZstd

/**
 * Decodes the first frame of some bytes, in one step; what follows it is not looked at.
 *
 * @param length the least that it must hold
 * @throws OcimountError `LAYER_CORRUPT`, also for a frame that holds less, or beyond `length` more than the headers of a few
 *   files; `COMPRESSION_UNSUPPORTED`
 */
export async function unzstdFrame(
  bytes: Buffer,
  length: number,
  what: string,
  backend: ZstdBackend = defaultZstdBackend(),
): Promise<Buffer> {
  const { packed, contentSize } = firstFrame(bytes, what)
  const most = Math.min(contentSize ?? Infinity, length + FRAME_SLACK)
  const output = await (backend === 'node' ? frameWithNode : frameWithWasm)(packed, most, what)
  if (output.length < length) throw damaged(what, 'a frame does not hold what it should')
  return output
}

/** What a frame may hold behind what is wanted of it. */
const FRAME_SLACK = 8 * 1024 * 1024

function firstFrame(
  bytes: Buffer,
  what: string,
): { packed: Buffer; contentSize: number | undefined } {
  const pieces: Buffer[] = []
  for (const piece of new ZstdFrameCutter(what).push(bytes)) {
    pieces.push(piece.bytes)
    if (piece.isLast) {
      return { packed: Buffer.concat(pieces), contentSize: piece.frame?.contentSize }
    }
  }
  throw damaged(what, 'a frame ends early')
}

async function frameWithNode(packed: Buffer, most: number, what: string): Promise<Buffer> {
  const { zstdDecompress } = zlibWithZstd
  if (zstdDecompress === undefined) {
    throw new OcimountError('INTERNAL', `Cannot decompress ${what}: node:zlib has no zstd`)
  }
  try {
    // No limit of 0, which is none.
    return await promisify(zstdDecompress)(packed, { maxOutputLength: Math.max(1, most) })
  } catch (error) {
    throw damaged(what, messageOf(error), error)
  }
}

async function frameWithWasm(packed: Buffer, most: number, what: string): Promise<Buffer> {
  const decoder = await wasmDecoder()
  // Where libzstd refuses the frame nothing comes out; a size of 0 would have it look for one in the frame.
  const output = decoder.decode(packed, Math.max(1, most))
  if (output.length > most) throw damaged(what, 'libzstd refuses it')
  return Buffer.from(output.buffer, output.byteOffset, output.length)
}

async function* cut(input: AsyncIterable<Buffer>, what: string): AsyncGenerator<ZstdPiece, void> {
  const cutter = new ZstdFrameCutter(what)
  for await (const chunk of input) yield* cutter.push(chunk)
  cutter.end()
}

// A frame of zstd:chunked holds one file; making a stream for each of 100,000 would cost more than decoding them.
const SMALL_FRAME = 256 * 1024

async function* decodeWithNode(
  pieces: AsyncGenerator<ZstdPiece, void>,
  what: string,
): AsyncGenerator<Buffer, void> {
  const { createZstdDecompress, zstdDecompressSync } = zlibWithZstd
  if (createZstdDecompress === undefined || zstdDecompressSync === undefined) {
    throw new OcimountError('INTERNAL', `Cannot decompress ${what}: node:zlib has no zstd`)
  }
  try {
    for (;;) {
      const start = await readStart(pieces)
      const last = start.at(-1)
      if (last === undefined) return
      const contentSize = last.frame?.contentSize
      if (last.isLast && contentSize !== undefined && contentSize <= OUTPUT_CHUNK) {
        const output = decodeSmall(zstdDecompressSync, start, contentSize, what)
        if (output.length > 0) yield output
        continue
      }
      yield* runEngine(
        createZstdDecompress({ chunkSize: OUTPUT_CHUNK }),
        wholeFrame(start, pieces),
        {
          onRest: () => {
            throw damaged(what, 'a frame ends before its last block')
          },
          translate: (error) => damaged(what, messageOf(error), error),
        },
      )
    }
  } finally {
    await pieces.return()
  }
}

/** Takes pieces up to the end of a frame or until they are no longer small; none at the end of the input. */
async function readStart(pieces: AsyncGenerator<ZstdPiece, void>): Promise<ZstdPiece[]> {
  const start: ZstdPiece[] = []
  let length = 0
  while (length < SMALL_FRAME) {
    const next = await pieces.next()
    if (next.done === true) break
    start.push(next.value)
    length += next.value.bytes.length
    if (next.value.isLast) break
  }
  return start
}

async function* wholeFrame(
  start: readonly ZstdPiece[],
  pieces: AsyncGenerator<ZstdPiece, void>,
): AsyncGenerator<Buffer, void> {
  for (const piece of start) yield piece.bytes
  let isLast = start.at(-1)?.isLast ?? true
  while (!isLast) {
    // Not for-await, which would close the pieces of the frames to come.
    const next = await pieces.next()
    if (next.done === true) return
    yield next.value.bytes
    isLast = next.value.isLast
  }
}

function decodeSmall(
  zstdDecompressSync: NonNullable<ZlibWithZstd['zstdDecompressSync']>,
  pieces: readonly ZstdPiece[],
  contentSize: number,
  what: string,
): Buffer {
  try {
    const bytes = Buffer.concat(pieces.map((piece) => piece.bytes))
    // One more than promised, so that a frame which holds more is an error and not a cut.
    return zstdDecompressSync(bytes, { maxOutputLength: contentSize + 1 })
  } catch (error) {
    throw damaged(what, messageOf(error), error)
  }
}

async function* decodeWithWasm(
  pieces: AsyncGenerator<ZstdPiece, void>,
  what: string,
): AsyncGenerator<Buffer, void> {
  const decoder = await wasmDecoder()

  // The decoder pulls its input synchronously, at most one piece per step, so the next one is fetched before.
  let next: IteratorResult<ZstdPiece, void> | undefined
  let taken = 0
  function* source(): Generator<Uint8Array, void> {
    while (next !== undefined && next.done !== true) {
      const { bytes } = next.value
      next = undefined
      taken++
      yield bytes
    }
  }
  // An error of libzstd shows only as steps without progress: no input taken, no output made. One such step
  // is in order (a checksum behind a full output buffer), a second one is not. The decoder's memory then stays
  // with this thread; layers are therefore decompressed in a worker of their own.
  let idleSteps = 0
  const steps = decoder.decodeStreaming(source())
  try {
    for (;;) {
      next ??= await pieces.next()
      const takenBefore = taken
      const step = takeStep(steps, what)
      if (step.done === true) return
      idleSteps = taken > takenBefore || step.value.length > 0 ? 0 : idleSteps + 1
      if (idleSteps > 1) throw damaged(what, 'libzstd refuses it')
      if (step.value.length > 0) yield Buffer.from(step.value.buffer, 0, step.value.length)
    }
  } finally {
    await pieces.return()
  }
}

/** All decoders of a thread share one memory. */
async function wasmDecoder(): Promise<ZSTDDecoder> {
  const { ZSTDDecoder } = await import('zstddec/stream')
  const decoder = new ZSTDDecoder()
  await decoder.init()
  return decoder
}

function takeStep(steps: Generator<Uint8Array>, what: string): IteratorResult<Uint8Array, unknown> {
  try {
    return steps.next()
  } catch (error) {
    throw damaged(what, messageOf(error), error)
  }
}

function damaged(what: string, why: string, cause?: unknown): OcimountError {
  return new OcimountError(
    'LAYER_CORRUPT',
    `Cannot decompress ${what}: the zstd stream is damaged (${why})`,
    { cause },
  )
}
