// Brings in chunks of one blob: neighbours in one request, each once for all who want it at the same time, none out before its digest
// held. What was unpacked a moment ago is kept, since a chunk can reach over several pieces and a member can hold many chunks.

import { createHash } from 'node:crypto'
import { unpackStart } from '../compression/unpack-start.js'
import { isOcimountError, OcimountError } from '../errors.js'
import { log } from '../logger.js'
import { ByteBudget } from './byte-budget.js'
import { chunkAt, chunkCount, chunkDigest, type Chunk, type ChunkTable } from './chunk-table.js'
import { ComingBytes } from './coming-bytes.js'
import type { BlobRanges, RangeOptions } from './layer-blob.js'
import { Slots } from './slots.js'

/** Between two stretches that are asked for as one: what a line carries while a request is on its way. */
const JOINED_GAP = 64 * 1024
/** Of one request, unless one chunk takes more. With more of them at a time, each gets a part of the line. */
const MAX_REQUEST = 2 * 1024 * 1024
/** Of unpacked chunks, at the least one. */
const MAX_KEPT = 32 * 1024 * 1024
/** What a chunk that is kept counts at the least: a hostile table has millions of one byte. */
const KEPT_COST = 4096
/** As many as libuv has threads; what waits has made nothing yet. */
const unpacking = new Slots(4)
/** To unpack 4 MiB takes 30 ms, that is what whoever waits for it waits less. So many at a time, which may all be of 64 MiB. */
const UNPACKED_AS_IT_COMES = 512 * 1024
const MAX_STREAMS = 2
let streams = 0
/** Of all layers: what is fetched and what waits to be unpacked. A hostile table has chunks of 66 MiB in every piece. */
const packedBytes = new ByteBudget(128 * 1024 * 1024)

export interface FetchChunksOptions {
  readonly isUrgent: boolean
  readonly isLikely?: boolean | undefined
  readonly signal: AbortSignal
}

/** One blob's chunks. */
export class ChunkFetcher {
  readonly #table: ChunkTable
  readonly #ranges: BlobRanges
  readonly #kept = new Map<number, Buffer>()
  #keptBytes = 0
  readonly #running = new Map<number, Running>()

  constructor(table: ChunkTable, ranges: BlobRanges) {
    this.#table = table
    this.#ranges = ranges
  }

  /**
   * Calls `use` with each of some consecutive chunks and its bytes, in no order.
   *
   * @throws OcimountError `DIGEST_MISMATCH` for a chunk that came wrong twice; as {@link BlobRanges.read}. When it throws,
   *   nothing is under way for this call any more.
   */
  async get(
    first: number,
    behind: number,
    options: FetchChunksOptions,
    use: (chunk: Chunk, bytes: Buffer) => void,
  ): Promise<void> {
    if (options.isUrgent) this.hurry(first, behind)
    const missing: Chunk[] = []
    for (let index = first; index < behind; index++) {
      if (!this.#kept.has(index) && !this.#running.has(index)) {
        missing.push(chunkAt(this.#table, index))
      }
    }
    for (const members of joined(this.#membersOf(missing))) this.#start(members, options)
    const results = await Promise.allSettled(
      Array.from({ length: behind - first }, async (_, position) => {
        const index = first + position
        const bytes = this.#kept.get(index) ?? (await this.#running.get(index)?.work)
        if (bytes === undefined) throw new OcimountError('INTERNAL', 'Cannot find a chunk')
        use(chunkAt(this.#table, index), bytes)
      }),
    )
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  /** Has what is under way of some chunks treated as what somebody waits for. */
  hurry(first: number, behind: number): void {
    for (let index = first; index < behind; index++) this.#running.get(index)?.hurry.abort()
  }

  /** Puts chunks together that lie in one member, with their neighbours that nobody asked for but that come with them. */
  #membersOf(chunks: readonly Chunk[]): Member[] {
    const members = new Map<number, Chunk[]>()
    for (const chunk of chunks) {
      const known = members.get(chunk.compressedOffset)
      if (known !== undefined) known.push(chunk)
      else members.set(chunk.compressedOffset, [chunk])
    }
    return [...members.values()].map((found) => {
      const ends = [found[0], found.at(-1)] as const
      const all = [...found, ...this.#beside(ends[0], -1), ...this.#beside(ends[1], 1)]
      const isWanted = ({ index }: Chunk): boolean =>
        !this.#kept.has(index) && !this.#running.has(index)
      return {
        chunks: all.filter(isWanted),
        offset: ends[0]?.compressedOffset ?? 0,
        // Of all: a frame can be unpacked as a whole only.
        length: most(all, ({ compressedLength }) => compressedLength),
        unpacked: most(all, ({ innerOffset, length }) => innerOffset + length),
      }
    })
  }

  #beside(chunk: Chunk | undefined, step: 1 | -1): Chunk[] {
    const found: Chunk[] = []
    if (chunk === undefined) return found
    const count = chunkCount(this.#table)
    for (let index = chunk.index + step; index >= 0 && index < count; index += step) {
      const other = chunkAt(this.#table, index)
      if (other.compressedOffset !== chunk.compressedOffset) break
      found.push(other)
    }
    return found
  }

  /** Starts one request for some members. */
  #start(members: readonly Member[], options: FetchChunksOptions): void {
    const offset = members[0]?.offset ?? 0
    const length = most(members, (member) => member.offset + member.length) - offset
    const hurry = new AbortController()
    const all = { ...options, hurry: hurry.signal }
    const room = packedBytes.take(length, all)
    const coming = new ComingBytes(async (onArrived) => {
      await room
      return this.#ranges.read({ offset, length }, { ...all, attempt: 0, onArrived })
    })
    const unpacked = members.map(async (member) => {
      const start = member.offset - offset
      const end = start + member.length
      // What is there is unpacked while the rest comes.
      const early = await this.#unpackComing(member, () => coming.stream(start, end))
      return early ?? this.#unpack(member, (await coming.upTo(end)).subarray(start, end), all)
    })
    void Promise.allSettled(unpacked).then(async () => {
      const giveBack = await room.catch(() => undefined)
      giveBack?.()
    })
    for (const [number, member] of members.entries()) {
      const made = unpacked[number] ?? Promise.resolve([])
      for (const [position, { index }] of member.chunks.entries()) {
        const work = made.then((contents) => {
          const bytes = contents[position]
          if (bytes instanceof OcimountError) throw bytes
          if (bytes === undefined) throw new OcimountError('INTERNAL', 'Cannot find a chunk')
          return bytes
        })
        const done = work
          .then((bytes) => {
            this.#keep(index, bytes)
            return bytes
          })
          .finally(() => this.#running.delete(index))
        this.#running.set(index, { work: done, hurry })
        // Whoever waits gets the error; nobody may.
        done.catch(() => undefined)
      }
    }
  }

  /** Unpacks a large member while it comes; undefined where it is no such one, or anything about it is wrong. */
  async #unpackComing(
    member: Member,
    open: () => AsyncIterable<Buffer>,
  ): Promise<(Buffer | OcimountError)[] | undefined> {
    const { compression } = this.#table
    if (compression !== 'gzip' || member.unpacked < UNPACKED_AS_IT_COMES || streams >= MAX_STREAMS)
      return undefined
    streams++
    try {
      const contents = await this.#contentsOf(member, open())
      return contents.every((bytes) => bytes instanceof Buffer) ? contents : undefined
    } catch {
      // Said by who has the whole of it, or knows why that does not come.
      return undefined
    } finally {
      streams--
    }
  }

  /** Unpacks a member; where a chunk of it is wrong it is fetched once more by itself. */
  async #unpack(
    member: Member,
    packed: Buffer,
    options: Omit<RangeOptions, 'attempt'>,
  ): Promise<(Buffer | OcimountError)[]> {
    const once = await this.#verified(member, packed)
    if (once.every((bytes) => bytes instanceof Buffer)) return once
    const { blobDigest: blob } = this.#table
    log.warn({ blob, offset: member.offset }, 'a part of a blob came wrong and is fetched again')
    const range = { offset: member.offset, length: member.length }
    return this.#verified(member, await this.#ranges.read(range, { ...options, attempt: 1 }))
  }

  #verified(member: Member, packed: Buffer): Promise<(Buffer | OcimountError)[]> {
    return unpacking.run(undefined, () => this.#contentsOf(member, packed))
  }

  async #contentsOf(
    member: Member,
    packed: Buffer | AsyncIterable<Buffer>,
  ): Promise<(Buffer | OcimountError)[]> {
    const { compression, blobDigest } = this.#table
    const where = `bytes ${member.offset}-${member.offset + member.length - 1} of blob ${blobDigest}`
    let bytes: Buffer
    try {
      bytes = await unpackStart(compression, packed, member.unpacked, where)
    } catch (error) {
      if (!isOcimountError(error)) throw error
      return member.chunks.map(({ index }) => wrong(where, index, error))
    }
    return member.chunks.map(({ index, innerOffset, length }) => {
      const chunk = bytes.subarray(innerOffset, innerOffset + length)
      const digest = createHash('sha256').update(chunk).digest()
      const isRight = digest.equals(chunkDigest(this.#table, index))
      if (!isRight) return wrong(where, index, undefined)
      // A copy, which keeps nothing else in memory.
      return chunk.length === bytes.length ? chunk : Buffer.from(chunk)
    })
  }

  #keep(index: number, bytes: Buffer): void {
    this.#kept.set(index, bytes)
    this.#keptBytes += keptCost(bytes)
    for (const [oldest, old] of this.#kept) {
      if (this.#keptBytes <= MAX_KEPT || oldest === index) break
      this.#kept.delete(oldest)
      this.#keptBytes -= keptCost(old)
    }
  }
}

function keptCost({ length }: Buffer): number {
  return Math.max(length, KEPT_COST)
}

interface Running {
  readonly work: Promise<Buffer>
  /** Of the request that it came with. */
  readonly hurry: AbortController
}

/** Chunks that are unpacked together. */
interface Member {
  readonly chunks: readonly Chunk[]
  readonly offset: number
  readonly length: number
  readonly unpacked: number
}

/** Gives the largest of some sizes; a hostile table has more of them than a call can have arguments. */
function most<T>(items: readonly T[], sizeOf: (item: T) => number): number {
  return items.reduce((largest, item) => Math.max(largest, sizeOf(item)), 0)
}

/** Cuts members, in the order of the blob, into requests. */
function* joined(members: Member[]): Generator<Member[], void, undefined> {
  members.sort((a, b) => a.offset - b.offset)
  let request: Member[] = []
  let start = 0
  let end = 0
  for (const member of members) {
    const memberEnd = member.offset + member.length
    const isNear = member.offset - end <= JOINED_GAP && memberEnd - start <= MAX_REQUEST
    if (request.length > 0 && !isNear) {
      yield request
      request = []
    }
    if (request.length === 0) start = member.offset
    request.push(member)
    end = request.length === 1 ? memberEnd : Math.max(end, memberEnd)
  }
  if (request.length > 0) yield request
}

function wrong(where: string, index: number, cause: unknown): OcimountError {
  const why = cause === undefined ? 'a chunk has another SHA-256' : 'they cannot be unpacked'
  return new OcimountError('DIGEST_MISMATCH', `Cannot use ${where}: ${why}`, {
    details: { spans: String(index) },
    ...(cause === undefined ? {} : { cause }),
  })
}
