// The members of an image archive, found by hopping from header to header: content is never read, so that
// opening an archive costs a few reads, whatever its size.

import { setImmediate } from 'node:timers/promises'
import type { ByteString } from '../byte-string.js'
import { escapeName, escapeText } from '../byte-string.js'
import { interruptedError } from '../cache/storage-error.js'
import { OcimountError } from '../errors.js'
import type { TarEntry } from '../tar/entry.js'
import { TarParser } from '../tar/parser.js'
import { MAX_ARCHIVE_ENTRIES } from './limits.js'
import type { LocalFile } from './local-file.js'

/** One member; `name` is clean and the target of a link as the archive gives it. */
export interface ArchiveMember {
  readonly type: TarEntry['type']
  readonly offset: number
  readonly size: number
  readonly target: ByteString
  readonly isSparse: boolean
  /** Another member has the same name: what the name means depends on who reads (checklist D-016). */
  isAmbiguous: boolean
}

/**
 * Reads the names of all members.
 *
 * Names lose leading slashes, `./` and doubled slashes; one with a `..` part is left out, since nothing that
 * a document may say can mean it. Two directories of one name are no conflict.
 *
 * @throws OcimountError `TAR_CORRUPT` for a broken or cut archive, `LIMIT_EXCEEDED`, `SOURCE_CHANGED`, `STORAGE_FAILED`,
 *   `INTERRUPTED`
 */
export async function indexArchive(
  file: LocalFile,
  signal?: AbortSignal,
): Promise<Map<ByteString, ArchiveMember>> {
  const members = new Map<ByteString, ArchiveMember>()
  const parser = new TarParser(
    {
      onEntry(entry) {
        addMember(members, entry)
      },
    },
    { maxEntries: MAX_ARCHIVE_ENTRIES },
  )
  let window = SMALL_WINDOW
  let windowEnd = 0
  let sliceEnd = performance.now() + MAX_BLOCKING_MS
  while (!parser.ended && parser.nextOffset < file.size) {
    if (signal?.aborted === true) throw interruptedError('read', file.path, signal.reason)
    const offset = parser.nextOffset
    // Neighbouring headers come in one larger read; after a hop over a layer a small one is enough.
    window = offset - windowEnd <= window ? Math.min(window * 2, LARGE_WINDOW) : SMALL_WINDOW
    const chunk = await file.read(offset, window)
    parser.write(chunk, offset)
    windowEnd = offset + chunk.length
    if (performance.now() >= sliceEnd) {
      await setImmediate()
      sliceEnd = performance.now() + MAX_BLOCKING_MS
    }
  }
  parser.end(file.size)
  return members
}

/** Gives a name without leading slashes, `.` parts and empty parts, or undefined when it has a `..` part. */
export function cleanMemberName(name: string): ByteString | undefined {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.')
  return parts.includes('..') ? undefined : (parts.join('/') as ByteString)
}

/** A header with the metadata that a docker archive puts around it fits. */
const SMALL_WINDOW = 4 * 1024
/** Beyond this, bytes that nobody needs cost more than a further read. */
const LARGE_WINDOW = 64 * 1024
/** How long the event loop may be kept waiting. */
const MAX_BLOCKING_MS = 10

function addMember(members: Map<ByteString, ArchiveMember>, entry: TarEntry): void {
  const name = cleanMemberName(entry.path)
  if (name === undefined || name === '') return
  const earlier = members.get(name)
  if (earlier !== undefined) {
    if (earlier.type !== 'directory' || entry.type !== 'directory') earlier.isAmbiguous = true
    return
  }
  members.set(name, {
    type: entry.type,
    offset: entry.dataOffset,
    size: entry.size,
    target: entry.linkTarget,
    isSparse: entry.sparse !== undefined,
    isAmbiguous: false,
  })
}

/** Says that a member cannot be used. */
export function memberError(
  archive: string,
  name: ByteString,
  why: string,
  code: 'IMAGE_INVALID' | 'IMAGE_UNSUPPORTED' = 'IMAGE_INVALID',
): OcimountError {
  return new OcimountError(code, `Cannot use ${escapeName(name)} in ${escapeText(archive)}: ${why}`)
}
