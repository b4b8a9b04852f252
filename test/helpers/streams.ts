// Compressed streams for tests: made by the usual programs, cut and fed in every way.

import { execFileSync } from 'node:child_process'

import { decompress, type DecompressOptions } from '../../src/compression/decompress.js'
import type { DecompressibleKind } from '../../src/compression/detect.js'

/** Tells why a program cannot be used here, or gives false: the `skip` of a test. */
export function toolMissing(tool: string): string | false {
  try {
    execFileSync(tool, ['--version'], { stdio: 'ignore' })
    return false
  } catch {
    return `the ${tool} program is not installed`
  }
}

/** Runs a program as a filter. */
export function filter(tool: string, args: readonly string[], input: Uint8Array): Buffer {
  return execFileSync(tool, args, { input, maxBuffer: 256 * 1024 * 1024 })
}

/** Yields bytes in pieces of the given length. */
export async function* inPieces(bytes: Buffer, length = bytes.length): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += length) {
    yield bytes.subarray(start, start + length)
  }
}

/** Joins what a stream yields. */
export async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = []
  for await (const chunk of chunks) all.push(chunk)
  return Buffer.concat(all)
}

/** Decompresses bytes that arrive in pieces of the given length. */
export function expand(
  kind: DecompressibleKind,
  bytes: Buffer,
  options: Partial<DecompressOptions> & { readonly pieces?: number } = {},
): Promise<Buffer> {
  const { pieces, ...rest } = options
  return collect(decompress(kind, inPieces(bytes, pieces), { what: 'layer x', ...rest }))
}

/** Bytes that compress like a layer does, the same for the same seed. */
export function sampleBytes(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length)
  let state = seed >>> 0
  for (let at = 0; at < length; at++) {
    // Runs of one value between values of a small alphabet.
    if (at % 7 === 0) state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[at] = state >>> 27
  }
  return bytes
}
