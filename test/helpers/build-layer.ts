// Builds layers in memory for tests: the toc that the layer room would give, and the tar bytes it belongs to.
//
//   const base = layer(dir('etc'), file('etc/x', 'hello', { mode: 0o600 }), symlink('lib', 'usr/lib'))
//   const upper = layer(whiteout('etc/x'), opaque('usr'), hardlink('y', 'etc/z'), dir('', { mode: 0o711 }))
//
// The toc is made here, not parsed from the bytes: the union is tested without trusting the tar reader.

import { byteString, type ByteString } from '../../src/byte-string.js'
import type { Toc, TocEntry, TocEntryType, TocNote } from '../../src/layer/toc.js'
import type { DataSegment, Timestamp } from '../../src/tar/entry.js'
import * as tar from './build-tar.js'
import type { Bytes } from './build-tar.js'

/** One member before it has a place in an archive. */
export interface LayerPart {
  readonly entry: Omit<TocEntry, 'headerOffset' | 'dataOffset' | 'sparse'>
  /** Header blocks and padded content. */
  readonly member: Buffer
  /** Stored bytes at the member's end, before padding. */
  readonly storedSize: number
  /** Where stored pieces of a sparse file belong. */
  readonly pieces?: readonly { readonly fileOffset: number; readonly length: number }[]
}

export interface BuiltLayer {
  readonly toc: Toc
  /** The uncompressed stream: the device that the toc's offsets mean. */
  readonly tar: Buffer
}

export interface PartOptions {
  mode?: number
  uid?: number
  gid?: number
  /** Seconds; default {@link DEFAULT_MTIME}. */
  mtime?: number
  xattrs?: Readonly<Record<string, Bytes>>
}

/** Unlike 0, which is what directories have that nobody described. */
export const DEFAULT_MTIME = 1_000_000_000

/** Joins parts, in their order, to a layer. */
export function layer(...parts: readonly LayerPart[]): BuiltLayer {
  return layerWith({}, ...parts)
}

/** The same with notes of the layer's reader. */
export function layerWith(
  { notes = [] }: { notes?: readonly TocNote[] },
  ...parts: readonly LayerPart[]
): BuiltLayer {
  const entries: TocEntry[] = []
  let offset = 0
  for (const { entry, member, storedSize, pieces } of parts) {
    const headerOffset = offset
    offset += member.length
    const dataOffset = offset - Math.ceil(storedSize / 512) * 512
    const sparse = pieces === undefined ? undefined : segments(pieces, dataOffset)
    entries.push({ ...entry, headerOffset, dataOffset, sparse })
  }
  const bytes = tar.buildTar(parts.map(({ member }) => member))
  return { toc: { entries, notes, deviceSize: bytes.length }, tar: bytes }
}

export function dir(path: Bytes, options: PartOptions = {}): LayerPart {
  const name = path.length === 0 ? './' : join(path, '/')
  return part('directory', path, { mode: 0o755, ...options }, (o) => tar.dir(name, o))
}

export function file(path: Bytes, content: Bytes = '', options: PartOptions = {}): LayerPart {
  const size = Buffer.from(content as string).length
  const base = part('file', path, { mode: 0o644, ...options }, (o) => tar.file(path, content, o))
  return { ...base, entry: { ...base.entry, size }, storedSize: size }
}

/** A sparse file in PAX 1.0 form; its pieces are stored one after the other, aligned to nothing. */
export function sparse(
  path: Bytes,
  size: number,
  pieces: readonly tar.SparsePiece[],
  options: PartOptions = {},
): LayerPart {
  const base = part('file', path, { mode: 0o644, ...options }, (o) =>
    tar.sparse(path, size, pieces, '1.0', o),
  )
  const lengths = pieces.map(({ offset, data }) => ({
    fileOffset: offset,
    length: Buffer.from(data as string).length,
  }))
  const storedSize = lengths.reduce((sum, { length }) => sum + length, 0)
  return { ...base, entry: { ...base.entry, size }, storedSize, pieces: lengths }
}

export function symlink(path: Bytes, target: Bytes, options: PartOptions = {}): LayerPart {
  const base = part('symlink', path, { mode: 0o777, ...options }, (o) =>
    tar.symlink(path, target, o),
  )
  return withTarget(base, target)
}

export function hardlink(path: Bytes, target: Bytes, options: PartOptions = {}): LayerPart {
  const base = part('hardlink', path, { mode: 0o644, ...options }, (o) =>
    tar.hardlink(path, target, o),
  )
  return withTarget(base, target)
}

export function char(
  path: Bytes,
  major: number,
  minor: number,
  options: PartOptions = {},
): LayerPart {
  const base = part('char', path, { mode: 0o666, ...options }, (o) =>
    tar.char(path, major, minor, o),
  )
  return { ...base, entry: { ...base.entry, devMajor: major, devMinor: minor } }
}

export function block(
  path: Bytes,
  major: number,
  minor: number,
  options: PartOptions = {},
): LayerPart {
  const base = part('block', path, { mode: 0o660, ...options }, (o) =>
    tar.block(path, major, minor, o),
  )
  return { ...base, entry: { ...base.entry, devMajor: major, devMinor: minor } }
}

export function fifo(path: Bytes, options: PartOptions = {}): LayerPart {
  return part('fifo', path, { mode: 0o644, ...options }, (o) => tar.fifo(path, o))
}

/** Hides `path`, the name without `.wh.`, of the layers below. */
export function whiteout(path: string): LayerPart {
  const slash = path.lastIndexOf('/') + 1
  const name = `${path.slice(0, slash)}.wh.${path.slice(slash)}`
  return part('whiteout', path, {}, (o) => tar.file(name, '', o))
}

/** Hides all that the directory `path` has in the layers below; '' is the root. */
export function opaque(path: string): LayerPart {
  const name = path === '' ? '.wh..wh..opq' : `${path}/.wh..wh..opq`
  return part('opaque', path, {}, (o) => tar.file(name, '', o))
}

/** A part whose entry a test changes by hand; its bytes stay what they were. */
export function tampered(
  base: LayerPart,
  change: Partial<Omit<TocEntry, 'headerOffset'>>,
): LayerPart {
  return { ...base, entry: { ...base.entry, ...change } }
}

function part(
  type: TocEntryType,
  path: Bytes,
  options: PartOptions,
  member: (options: tar.MemberOptions) => Buffer,
): LayerPart {
  const { mode = 0o644, uid = 0, gid = 0, mtime = DEFAULT_MTIME, xattrs } = options
  const all = { mode, uid, gid, mtime, ...(xattrs === undefined ? {} : { xattrs }) }
  const entry = {
    path: bytesAsName(path),
    type,
    mode,
    uid,
    gid,
    mtime: timestamp(mtime),
    size: 0,
    linkTarget: '' as ByteString,
    devMajor: 0,
    devMinor: 0,
    xattrs: xattrMap(xattrs),
  }
  return { entry, member: member(all), storedSize: 0 }
}

function withTarget(base: LayerPart, target: Bytes): LayerPart {
  return { ...base, entry: { ...base.entry, linkTarget: bytesAsName(target) } }
}

function segments(
  pieces: readonly { readonly fileOffset: number; readonly length: number }[],
  dataOffset: number,
): DataSegment[] {
  let deviceOffset = dataOffset
  return pieces.map(({ fileOffset, length }) => {
    deviceOffset += length
    return { fileOffset, deviceOffset: deviceOffset - length, length }
  })
}

function timestamp(mtime: number): Timestamp {
  const seconds = Math.floor(mtime)
  return { seconds, nanoseconds: Math.round((mtime - seconds) * 1e9) }
}

function xattrMap(
  xattrs: Readonly<Record<string, Bytes>> | undefined,
): ReadonlyMap<ByteString, Buffer> | undefined {
  if (xattrs === undefined) return undefined
  return new Map(
    Object.entries(xattrs).map(([name, value]) => [
      bytesAsName(name),
      Buffer.from(value as string),
    ]),
  )
}

function bytesAsName(value: Bytes): ByteString {
  return byteString(Buffer.from(value as string))
}

function join(path: Bytes, suffix: string): Buffer {
  return Buffer.concat([Buffer.from(path as string), Buffer.from(suffix)])
}
