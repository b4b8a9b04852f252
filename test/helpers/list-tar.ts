// Lists tar archives for tests: by our parser in both ways of reading, and by Python's tarfile as an oracle.

import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import type { TarEntry, TarNote } from '../../src/tar/entry.js'
import type { TarLimits } from '../../src/tar/limits.js'
import { TarParser } from '../../src/tar/parser.js'

export interface Listing {
  entries: TarEntry[]
  notes: TarNote[]
}

/** Writes every byte, in chunks whose lengths `chunkLength` gives; by default all at once. */
export function streamTar(
  archive: Buffer,
  chunkLength: () => number = () => archive.length,
  limits?: TarLimits,
): Listing {
  const { listing, parser } = startListing(limits)
  for (let at = 0; at < archive.length;) {
    const length = Math.max(1, chunkLength())
    // A copy that is overwritten afterwards: the parser must keep nothing of a chunk.
    const chunk = Uint8Array.from(archive.subarray(at, at + length))
    parser.write(chunk, at)
    chunk.fill(0xee)
    at += length
  }
  parser.end(archive.length)
  return listing
}

/** Reads `readLength` bytes wherever the parser asks for them; `read` may refuse. */
export function hopTar(
  size: number,
  read: (offset: number, length: number) => Buffer,
  readLength = 512,
): Listing {
  const { listing, parser } = startListing()
  while (!parser.ended && parser.nextOffset < size) {
    const offset = parser.nextOffset
    parser.write(read(offset, Math.min(readLength, size - offset)), offset)
  }
  parser.end(size)
  return listing
}

/** A member in the form that the oracle gives. */
export interface PlainEntry {
  path: string
  type: string
  mode: number
  uid: number
  gid: number
  mtime: { seconds: number; nanoseconds: number }
  size: number
  linkTarget: string
  devMajor: number
  devMinor: number
  xattrs: Record<string, string>
  /** SHA-256 of a file's logical content; null for other types and for files above 16 MiB. */
  content: string | null
}

export function plainEntry(archive: Buffer, entry: TarEntry): PlainEntry {
  const { path, type, mode, uid, gid, mtime, size, linkTarget, devMajor, devMinor } = entry
  const xattrs = [...(entry.xattrs ?? [])].map(([name, value]) => [name, value.toString('latin1')])
  const isHashed = type === 'file' && size <= 1 << 24
  const content = isHashed ? sha256(contentOf(archive, entry)) : null
  return {
    ...{ path, type, mode, uid, gid, mtime, size, linkTarget, devMajor, devMinor },
    xattrs: Object.fromEntries(xattrs) as Record<string, string>,
    content,
  }
}

/** The logical bytes of a file. */
export function contentOf(archive: Buffer, { size, dataOffset, sparse }: TarEntry): Buffer {
  const segments = sparse ?? [{ fileOffset: 0, deviceOffset: dataOffset, length: size }]
  const content = Buffer.alloc(size)
  for (const { fileOffset, deviceOffset, length } of segments) {
    archive.copy(content, fileOffset, deviceOffset, deviceOffset + length)
  }
  return content
}

export interface OracleListing {
  entries: PlainEntry[]
  error: string | null
}

/** What Python's tarfile says about archives on disk, which may be compressed. */
export function pythonListings(paths: readonly string[]): OracleListing[] {
  const output = execFileSync('python3', ['test/helpers/list-tar.py', ...paths], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as OracleListing)
}

/** A reason to skip a test that needs a program, or false. */
export function missingTool(program: string, ...args: string[]): string | false {
  const { error, status } = spawnSync(program, args, { stdio: 'ignore' })
  return error === undefined && status === 0 ? false : `${program} is not there`
}

function startListing(limits?: TarLimits): { listing: Listing; parser: TarParser } {
  const listing: Listing = { entries: [], notes: [] }
  const parser = new TarParser(
    {
      onEntry: (entry) => listing.entries.push(entry),
      onNote: (note) => listing.notes.push(note),
    },
    limits,
  )
  return { listing, parser }
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
