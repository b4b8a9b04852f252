// Writes eStargz and zstd:chunked layers from the description of the formats alone: the tar cut up, files in members or frames of their
// own, the table of contents behind them. Hostile tables are made by changing the entries before they are written.

import { execFileSync } from 'node:child_process'
import { gzipSync } from 'node:zlib'
import { createHash } from 'node:crypto'
import { buildTar, file, type MemberOptions } from './build-tar.js'
import { sha256 } from './build-image.js'

/** A file of the layer: its headers in the tar, padding of the file before included, what the table says of it, its content. */
export interface LazyMember {
  readonly headers: Buffer
  readonly entry: Record<string, unknown>
  readonly content: Buffer
}

export interface LazyLayerSpec {
  readonly members: readonly LazyMember[]
  readonly format: 'estargz' | 'stargz' | 'zstd:chunked'
  readonly chunkSize?: number
  /** Changes what the table says before it is written. */
  readonly change?: (entries: Record<string, unknown>[]) => unknown[]
  /** Instead of the JSON of the entries. */
  readonly json?: (entries: unknown[]) => string
}

export interface BuiltLazyLayer {
  readonly tar: Buffer
  readonly stored: Buffer
  readonly annotations: Record<string, string>
  readonly tocOffset: number
  readonly entries: readonly Record<string, unknown>[]
}

const END = Buffer.alloc(1024)

/** Builds a layer, whose stored form unpacks to `tar`. */
export function buildLazyLayer(spec: LazyLayerSpec): BuiltLazyLayer {
  const { members, format, chunkSize = Infinity } = spec
  const isZstd = format === 'zstd:chunked'
  const pack = isZstd ? zstd : (bytes: Buffer): Buffer => gzipSync(bytes)
  const stored: Buffer[] = []
  const tar: Buffer[] = []
  const put = (plain: Buffer): number => {
    const at = sizeOf(stored)
    tar.push(plain)
    if (plain.length > 0) stored.push(pack(plain))
    return at
  }
  const entries: Record<string, unknown>[] = []
  for (const { headers, entry, content } of members) {
    put(headers)
    if (content.length === 0) {
      entries.push(entry)
      continue
    }
    const count = Math.max(1, Math.ceil(content.length / chunkSize))
    for (let n = 0; n < count; n++) {
      const chunkOffset = n === 0 ? 0 : n * chunkSize
      const chunk = content.subarray(chunkOffset, chunkOffset + chunkSize)
      const offset = put(chunk)
      entries.push({
        ...(n === 0 ? { ...entry, size: content.length } : { name: entry['name'], type: 'chunk' }),
        ...{ offset, chunkOffset, chunkDigest: sha256(chunk) },
        // As writers do: what is last goes on to the end.
        ...(n === count - 1 ? {} : { chunkSize: chunk.length }),
        ...(isZstd ? { endOffset: sizeOf(stored) } : {}),
      })
    }
    put(Buffer.alloc((512 - (content.length % 512)) % 512))
  }
  const changed = spec.change?.(structuredClone(entries)) ?? entries
  const json = spec.json?.(changed) ?? JSON.stringify({ version: 1, entries: changed })
  if (isZstd) put(END)
  const tocOffset = sizeOf(stored)
  const behind = isZstd ? zstdTail(json, tocOffset) : stargzTail(json, tocOffset, format)
  if (!isZstd) tar.push(tocTar(json))
  const blob = Buffer.concat([...stored, behind.bytes])
  return {
    tar: Buffer.concat(tar),
    stored: blob,
    entries,
    tocOffset,
    annotations: behind.annotations,
  }
}

interface Tail {
  readonly bytes: Buffer
  readonly annotations: Record<string, string>
}

function tocTar(json: string): Buffer {
  return buildTar([file('stargz.index.json', json, { mode: 0, uid: 0, gid: 0, mtime: 0 })])
}

function stargzTail(json: string, tocOffset: number, format: string): Tail {
  const place = tocOffset.toString(16).padStart(16, '0') + 'STARGZ'
  const extra = format === 'stargz' ? `\x16\0${place}` : `\x1a\0SG\x16\0${place}`
  const footer = Buffer.concat([
    Buffer.from('1f8b08040000000000ff', 'hex'),
    Buffer.from(extra, 'latin1'),
    Buffer.from('010000ffff0000000000000000', 'hex'),
  ])
  return {
    bytes: Buffer.concat([gzipSync(tocTar(json)), footer]),
    annotations: { 'containerd.io/snapshot/stargz/toc.digest': sha256(json) },
  }
}

function zstdTail(json: string, at: number): Tail {
  const packed = zstd(Buffer.from(json))
  const offset = at + 8
  const jsonLength = Buffer.byteLength(json)
  const footer = Buffer.alloc(64)
  const numbers = [offset, packed.length, jsonLength, 1]
  for (const [n, value] of numbers.entries()) footer.writeBigUInt64LE(BigInt(value), n * 8)
  footer.write('GNUlInUx', 56, 'latin1')
  return {
    bytes: Buffer.concat([skippable(packed), skippable(footer)]),
    annotations: {
      'io.github.containers.zstd-chunked.manifest-checksum': sha256(packed),
      'io.github.containers.zstd-chunked.manifest-position': `${offset}:${packed.length}:${jsonLength}:1`,
    },
  }
}

function skippable(payload: Buffer): Buffer {
  const header = Buffer.from('502a4d1800000000', 'hex')
  header.writeUInt32LE(payload.length, 4)
  return Buffer.concat([header, payload])
}

const packedBefore = new Map<string, Buffer>()

/** By the program of that name; what occurs often is packed once. */
export function zstd(bytes: Buffer): Buffer {
  const key = createHash('sha256').update(bytes).digest('hex')
  const known = packedBefore.get(key)
  if (known !== undefined) return known
  const maxBuffer = bytes.length * 2 + 1024
  const packed = execFileSync('zstd', ['-q', '-3', '-c'], { input: bytes, maxBuffer })
  packedBefore.set(key, packed)
  return packed
}

function sizeOf(parts: readonly Buffer[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0)
}

/** A regular file. */
export function lazyFile(
  name: string,
  content: Buffer | string,
  options: MemberOptions = {},
): LazyMember {
  const bytes = Buffer.from(content)
  const whole = file(name, bytes, options)
  const headers = whole.subarray(0, whole.length - Math.ceil(bytes.length / 512) * 512)
  const entry = { name, type: 'reg', mode: options.mode ?? 0o644, ...entryOf(options) }
  return { headers, content: bytes, entry: { ...entry, digest: sha256(bytes) } }
}

/** Any other member: its bytes in the tar, and what the table says of it. */
export function lazyEntry(
  headers: Buffer,
  entry: Record<string, unknown>,
  options: MemberOptions = {},
): LazyMember {
  return { headers, content: Buffer.alloc(0), entry: { ...entry, ...entryOf(options) } }
}

function entryOf({ mtime = 0, uid, gid, xattrs }: MemberOptions): Record<string, unknown> {
  return {
    modtime: new Date(mtime * 1000).toISOString().replace('.000Z', 'Z'),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(xattrs === undefined
      ? {}
      : {
          xattrs: Object.fromEntries(
            Object.entries(xattrs).map(([key, value]) => [
              key,
              Buffer.from(value as string).toString('base64'),
            ]),
          ),
        }),
  }
}
