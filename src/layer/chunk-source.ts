// Makes the pieces of a lazy layer: puts the chunks that reach into them together, zeros between, and says what they hash to, which
// nobody knew before. The table of chunks is read at the first miss; where it is gone it is made again.

import { createHash } from 'node:crypto'
import { write } from 'node:fs'
import { promisify } from 'node:util'
import type {
  ComingPart,
  FetchStats,
  FirstPiece,
  MadePieces,
  PieceSource,
  Stretch,
  WantedPieces,
} from '../cache/piece-maker.js'
import { PIECE_DIGEST_SIZE, PIECE_SIZE, pieceCount } from '../cache/piece-map.js'
import { messageOf, OcimountError } from '../errors.js'
import { ChunkFetcher } from './chunk-fetcher.js'
import { chunkAt, chunkCount, firstChunkBehind, type ChunkTable } from './chunk-table.js'
import type { BlobRanges } from './layer-blob.js'
import type { ReadProfile } from './read-profile.js'

export interface ChunkSourceParts {
  readonly ranges: BlobRanges
  readonly profile: ReadProfile
  readonly loadTable: (signal: AbortSignal) => Promise<ChunkTable>
  /** Called at the end. */
  readonly onClose?: () => Promise<void>
}

/** Makes pieces of one layer. */
export class ChunkSource implements PieceSource {
  readonly learnsDigests = true
  readonly #parts: ChunkSourceParts
  readonly #ending = new AbortController()
  #loaded: Promise<Loaded> | undefined
  #ready: Loaded | undefined
  /** Pieces that were read first in earlier runs. */
  #likely: ReadonlySet<number> = new Set()

  constructor(parts: ChunkSourceParts) {
    this.#parts = parts
  }

  async make(wanted: WantedPieces): Promise<MadePieces> {
    const { firstPiece, deviceSize, dataFd } = wanted
    const { table, fetcher } = await this.#load()
    const isUrgent = wanted.isUrgent()
    if (table.deviceSize !== deviceSize) {
      const message = `Cannot read blob ${table.blobDigest}: its chunks are of another device`
      throw new OcimountError('CACHE_CORRUPT', message)
    }
    const start = firstPiece * PIECE_SIZE
    const count = wanted.pieceDigests.length / PIECE_DIGEST_SIZE
    if (isUrgent) this.#parts.profile.note(firstPiece, count)
    const end = Math.min(start + count * PIECE_SIZE, deviceSize)
    const isLikely = this.#likely.has(firstPiece)
    const bytes = await this.#bytesOf({ table, fetcher }, { start, end, isUrgent, isLikely })
    const pieceDigests = digestsOf(bytes)
    const writeFailure = dataFd < 0 ? undefined : await writeAll(dataFd, bytes, start)
    return { bytes, writeFailure, pieceDigests }
  }

  /** The chunks of the stretch alone, where the pieces have so much more that the line is busy with it. */
  async part({ offset, length }: Stretch): Promise<ComingPart | undefined> {
    const loaded = await this.#load()
    const { table } = loaded
    const end = offset + length
    const firstPiece = Math.floor(offset / PIECE_SIZE)
    const pieces = Math.ceil(end / PIECE_SIZE) - firstPiece
    const start = firstPiece * PIECE_SIZE
    const whole = chunksIn(table, start, Math.min(start + pieces * PIECE_SIZE, table.deviceSize))
    const rest = packedLength(table, whole) - packedLength(table, chunksIn(table, offset, end))
    if (rest < WORTH_WAITING) return undefined
    this.#parts.profile.note(firstPiece, pieces)
    const bytes = this.#bytesOf(loaded, { start: offset, end, isUrgent: true })
    // Whoever waits gets the error, and by then nobody may.
    bytes.catch(() => undefined)
    return { bytes }
  }

  /** What was read first in earlier runs, then what the maker of the layer saw being read first. */
  async firstPieces(): Promise<readonly FirstPiece[]> {
    const known = await this.#parts.profile.load()
    const { table } = await this.#load()
    this.#likely = new Set(known.map(({ piece }) => piece))
    const marked = Array.from({ length: pieceCount(table.firstEnd) }, (_, piece) => piece)
    const rest = marked.filter((piece) => !this.#likely.has(piece))
    return [...known, ...rest.map((piece) => ({ piece, atMs: Infinity }))]
  }

  hurry(piece: number): void {
    if (this.#ready === undefined) return
    const { table, fetcher } = this.#ready
    const { first, behind } = chunksOf(table, piece)
    fetcher.hurry(first, behind)
  }

  /** Chunks of a large file are: who reads some of it need not want more, and they may reach over several pieces. */
  isCheap(piece: number): boolean {
    if (this.#ready === undefined) return false
    const { table } = this.#ready
    const chunks = chunksOf(table, piece)
    return chunks.first < chunks.behind && packedLength(table, chunks) <= CHEAP
  }

  noteGuess(piece: number): void {
    this.#parts.profile.note(piece, 1)
  }

  fetched(): FetchStats {
    return this.#parts.ranges.fetched()
  }

  /** Lets nobody wait for a registry any longer. */
  stop(): void {
    this.#ending.abort()
  }

  async close(): Promise<void> {
    this.stop()
    await this.#parts.profile.save()
    await this.#parts.onClose?.()
    await this.#loaded?.catch(() => undefined)
  }

  async #bytesOf({ table, fetcher }: Loaded, { start, end, ...how }: WantedBytes): Promise<Buffer> {
    const bytes = Buffer.alloc(end - start)
    const { first, behind } = chunksIn(table, start, end)
    const options = { ...how, signal: this.#ending.signal }
    await fetcher.get(first, behind, options, (chunk, content) => {
      const from = Math.max(start, chunk.deviceOffset)
      const to = Math.min(end, chunk.deviceOffset + chunk.length)
      content.copy(bytes, from - start, from - chunk.deviceOffset, to - chunk.deviceOffset)
    })
    return bytes
  }

  #load(): Promise<Loaded> {
    this.#loaded ??= this.#parts
      .loadTable(this.#ending.signal)
      .then((table) => {
        this.#ready = { table, fetcher: new ChunkFetcher(table, this.#parts.ranges) }
        return this.#ready
      })
      .catch((error: unknown) => {
        this.#loaded = undefined
        throw error
      })
    return this.#loaded
  }
}

interface WantedBytes {
  readonly start: number
  readonly end: number
  readonly isUrgent: boolean
  readonly isLikely?: boolean
}

interface Loaded {
  readonly table: ChunkTable
  readonly fetcher: ChunkFetcher
}

/** Bytes to be fetched for a piece of small files: half a piece is usual. */
const CHEAP = 640 * 1024
/** What a line of 100 Mbit/s carries in 5 ms. */
const WORTH_WAITING = 64 * 1024

/** Some consecutive ones, or none. */
interface Chunks {
  readonly first: number
  readonly behind: number
}

/** Gives what lies between the ends of some chunks in the blob; of a table by whom it may be. */
function packedLength(table: ChunkTable, { first, behind }: Chunks): number {
  if (first === behind) return 0
  const last = chunkAt(table, behind - 1)
  return last.compressedOffset + last.compressedLength - chunkAt(table, first).compressedOffset
}

function chunksOf(table: ChunkTable, piece: number): Chunks {
  const start = piece * PIECE_SIZE
  return chunksIn(table, start, Math.min(start + PIECE_SIZE, table.deviceSize))
}

/** Gives the chunks that reach into a stretch. */
function chunksIn(table: ChunkTable, start: number, end: number): Chunks {
  const first = firstChunkBehind(table, start)
  const last = firstChunkBehind(table, end)
  // That one ends behind the stretch; it may begin in it all the same.
  const isIn = last < chunkCount(table) && chunkAt(table, last).deviceOffset < end
  return { first, behind: isIn ? last + 1 : last }
}

function digestsOf(bytes: Buffer): Buffer {
  const digests: Buffer[] = []
  for (let at = 0; at < bytes.length; at += PIECE_SIZE) {
    digests.push(
      createHash('sha256')
        .update(bytes.subarray(at, at + PIECE_SIZE))
        .digest(),
    )
  }
  return Buffer.concat(digests)
}

/** Gives what went wrong: reading goes on without the disk. */
async function writeAll(fd: number, bytes: Buffer, position: number): Promise<string | undefined> {
  try {
    for (let done = 0; done < bytes.length;) {
      const rest = bytes.length - done
      done += (await writeAsync(fd, bytes, done, rest, position + done)).bytesWritten
    }
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

const writeAsync = promisify(write)
