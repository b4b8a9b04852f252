// Writes the file form of a toc (toc-format.ts).

import { byteString, byteStringOf, type ByteString } from '../byte-string.js'
import type { DataSegment } from '../tar/entry.js'
import { ByteWriter } from './byte-writer.js'
import {
  HAS_NANOSECONDS,
  HAS_XATTRS,
  IS_SPARSE,
  TOC_MAGIC,
  TOC_TYPES,
  TOC_VERSION,
} from './toc-format.js'
import type { Toc, TocEntry } from './toc.js'

/**
 * Encodes a toc, in parts that make up the file one after the other.
 *
 * Fields that an entry of its type cannot have (the size of a directory, say) are not kept.
 */
export function encodeToc(toc: Toc): Buffer[] {
  const writer = new ByteWriter()
  writer.rawString(TOC_MAGIC)
  writer.byte(TOC_VERSION)
  writer.unsigned(toc.deviceSize)
  const sets = new XattrSets(toc.entries)
  sets.write(writer)
  writer.unsigned(toc.notes.length)
  for (const note of toc.notes) {
    writer.string(byteStringOf(note.kind))
    writer.string(note.path)
    writer.string(byteStringOf(note.detail))
  }
  writer.unsigned(toc.entries.length)
  let previous: Predecessor = { path: '' as ByteString, headerOffset: 0 }
  for (const entry of toc.entries) {
    writeEntry(writer, entry, previous, sets)
    previous = entry
  }
  return writer.finish()
}

const TYPE_NUMBERS = new Map(TOC_TYPES.map((type, index) => [type, index]))

interface Predecessor {
  readonly path: ByteString
  readonly headerOffset: number
}

function writeEntry(
  writer: ByteWriter,
  entry: TocEntry,
  previous: Predecessor,
  sets: XattrSets,
): void {
  const { type, mtime, sparse, xattrs } = entry
  const isSparse = type === 'file' && sparse !== undefined
  writer.byte(
    (TYPE_NUMBERS.get(type) ?? 0) |
      (xattrs === undefined ? 0 : HAS_XATTRS) |
      (isSparse ? IS_SPARSE : 0) |
      (mtime.nanoseconds === 0 ? 0 : HAS_NANOSECONDS),
  )
  const shared = sharedLength(previous.path, entry.path)
  writer.unsigned(shared)
  writer.unsigned(entry.path.length - shared)
  writer.rawString(entry.path.slice(shared))
  writer.unsigned(entry.mode)
  writer.unsigned(entry.uid)
  writer.unsigned(entry.gid)
  writer.signed(mtime.seconds)
  if (mtime.nanoseconds !== 0) writer.unsigned(mtime.nanoseconds)
  writer.signed(entry.headerOffset - previous.headerOffset)
  writer.signed(entry.dataOffset - entry.headerOffset)
  if (type === 'file') writer.unsigned(entry.size)
  if (type === 'symlink' || type === 'hardlink') writer.string(entry.linkTarget)
  if (type === 'char' || type === 'block') {
    writer.unsigned(entry.devMajor)
    writer.unsigned(entry.devMinor)
  }
  if (xattrs !== undefined) writer.unsigned(sets.numberOf(xattrs))
  if (isSparse) writeSegments(writer, sparse, entry.dataOffset)
}

function writeSegments(
  writer: ByteWriter,
  segments: readonly DataSegment[],
  dataOffset: number,
): void {
  writer.unsigned(segments.length)
  let fileEnd = 0
  let deviceEnd = dataOffset
  for (const { fileOffset, deviceOffset, length } of segments) {
    writer.unsigned(fileOffset - fileEnd)
    writer.signed(deviceOffset - deviceEnd)
    writer.unsigned(length)
    fileEnd = fileOffset + length
    deviceEnd = deviceOffset + length
  }
}

function sharedLength(a: string, b: string): number {
  const limit = Math.min(a.length, b.length)
  let length = 0
  while (length < limit && a.charCodeAt(length) === b.charCodeAt(length)) length++
  return length
}

type XattrSet = ReadonlyMap<ByteString, Buffer>

/** The distinct sets of xattrs in a toc, numbered by first appearance. */
class XattrSets {
  readonly #numbers = new Map<string, number>()
  readonly #numberOfObject = new Map<XattrSet, number>()
  readonly #sets: XattrSet[] = []

  constructor(entries: readonly TocEntry[]) {
    for (const { xattrs } of entries) {
      if (xattrs === undefined || this.#numberOfObject.has(xattrs)) continue
      const key = setKey(xattrs)
      let number = this.#numbers.get(key)
      if (number === undefined) {
        number = this.#sets.push(xattrs) - 1
        this.#numbers.set(key, number)
      }
      this.#numberOfObject.set(xattrs, number)
    }
  }

  numberOf(set: XattrSet): number {
    return this.#numberOfObject.get(set) ?? 0
  }

  write(writer: ByteWriter): void {
    writer.unsigned(this.#sets.length)
    for (const set of this.#sets) {
      writer.unsigned(set.size)
      for (const [name, value] of set) {
        writer.string(name)
        writer.bytes(value)
      }
    }
  }
}

function setKey(set: XattrSet): string {
  let key = ''
  for (const [name, value] of set) {
    key += `${name.length},${value.length},${name}${byteString(value)}`
  }
  return key
}
