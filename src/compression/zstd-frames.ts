// Cuts a zstd stream (RFC 8878) into its frames without decoding a block, for what no decoder at hand does by itself:
// node:zlib ends at the first frame and drops the rest, zstddec reports no errors, neither refuses bytes that
// follow the last frame. States: magic → descriptor → header → (block-header → block)* → checksum → magic;
// magic → skip-size → skip → magic; magic → padding, when a zero follows a frame.

import { OcimountError } from '../errors.js'
import { expectPadding } from './padding.js'

/** What a frame's header says. */
export interface ZstdFrame {
  /** Undefined when the header does not say. */
  readonly contentSize: number | undefined
  readonly windowSize: number
}

/** Consecutive bytes of one data frame. */
export interface ZstdPiece {
  readonly bytes: Buffer
  /** Complete from the piece on in which the frame's header ends. */
  readonly frame: ZstdFrame | undefined
  readonly isLast: boolean
}

/** What decoders have to remember of a frame's output; `zstd --long` needs more than its level 22. Equals zstd's own default. */
export const MAX_WINDOW = 128 * 1024 * 1024

/** Passes on the data frames of a stream, piece by piece, and checks what lies between them. */
export class ZstdFrameCutter {
  readonly #what: string
  #state: State = 'magic'
  /** Bytes of the current field that are still to come. */
  #missing = 4
  /** The field being collected; at most 14 bytes, so fields may straddle chunks. */
  readonly #field = Buffer.alloc(16)
  #fieldLength = 0
  #descriptor = 0
  #frame: ZstdFrame | undefined
  #isLastBlock = false
  #frames = 0
  #isPadding = false

  constructor(what: string) {
    this.#what = what
  }

  /**
   * Yields the pieces of data frames in a chunk; they share its memory.
   *
   * @throws OcimountError `LAYER_CORRUPT` where no frame or block can begin, `COMPRESSION_UNSUPPORTED` for a
   *   frame that needs a dictionary or a window above {@link MAX_WINDOW}
   */
  *push(chunk: Buffer): Generator<ZstdPiece, void, undefined> {
    let position = 0
    let pieceStart = isInFrame(this.#state) ? 0 : undefined
    while (position < chunk.length) {
      if (this.#startsPadding(chunk, position)) {
        expectPadding(chunk.subarray(position), this.#what, 'zstd frame')
        return
      }
      position += this.#consume(chunk, position)
      // A field of no length, such as an empty block, is left at once.
      while (this.#missing === 0) {
        this.#advance()
        if (!isInFrame(this.#state)) {
          if (pieceStart === undefined) continue
          yield { bytes: chunk.subarray(pieceStart, position), frame: this.#frame, isLast: true }
          pieceStart = undefined
        } else if (pieceStart === undefined) {
          // The magic number may straddle two chunks; its bytes are known.
          if (position < 4) yield { bytes: MAGIC_BYTES, frame: undefined, isLast: false }
          pieceStart = position < 4 ? position : position - 4
        }
      }
    }
    if (pieceStart !== undefined && pieceStart < chunk.length) {
      yield { bytes: chunk.subarray(pieceStart), frame: this.#frame, isLast: false }
    }
  }

  /**
   * Checks that the input ended between frames.
   *
   * @throws OcimountError `LAYER_CORRUPT`
   */
  end(): void {
    if (this.#isPadding) return
    if (this.#state !== 'magic' || this.#fieldLength > 0 || this.#frames === 0) {
      throw this.#corrupt('the zstd stream ends early')
    }
  }

  #startsPadding(chunk: Buffer, position: number): boolean {
    const isBetweenFrames = this.#state === 'magic' && this.#fieldLength === 0
    if (isBetweenFrames && this.#frames > 0 && chunk[position] === 0) this.#isPadding = true
    return this.#isPadding
  }

  /** Takes what the chunk has of the current field and gives its length. */
  #consume(chunk: Buffer, position: number): number {
    const length = Math.min(this.#missing, chunk.length - position)
    if (isCollected(this.#state)) {
      chunk.copy(this.#field, this.#fieldLength, position, position + length)
      this.#fieldLength += length
    }
    this.#missing -= length
    return length
  }

  /** Leaves a field that is complete. */
  #advance(): void {
    switch (this.#state) {
      case 'magic':
        this.#beginFrame(this.#field.readUInt32LE(0))
        return
      case 'skip-size':
        this.#enter('skip', this.#field.readUInt32LE(0))
        return
      case 'skip':
        this.#enter('magic', 4)
        return
      case 'descriptor':
        this.#descriptor = this.#field.readUInt8(0)
        if ((this.#descriptor & 0x08) !== 0) throw this.#corrupt('a reserved bit of a frame is set')
        this.#enter('header', headerLength(this.#descriptor))
        return
      case 'header':
        this.#frame = this.#readHeader()
        this.#enter('block-header', 3)
        return
      case 'block-header':
        this.#beginBlock(this.#field.readUIntLE(0, 3))
        return
      case 'block':
        if (!this.#isLastBlock) this.#enter('block-header', 3)
        else if ((this.#descriptor & 0x04) !== 0) this.#enter('checksum', 4)
        else this.#enter('magic', 4)
        return
      case 'checksum':
        this.#enter('magic', 4)
        return
    }
  }

  #enter(state: State, missing: number): void {
    this.#state = state
    this.#missing = missing
    this.#fieldLength = 0
  }

  #beginFrame(magic: number): void {
    if (magic === MAGIC) {
      this.#frame = undefined
      this.#enter('descriptor', 1)
    } else if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      this.#enter('skip-size', 4)
    } else if (this.#frames === 0) {
      throw this.#corrupt('it does not begin with a zstd frame')
    } else {
      throw this.#corrupt('other bytes than zeros follow the last zstd frame')
    }
    this.#frames++
  }

  #beginBlock(header: number): void {
    const type = (header >> 1) & 3
    const size = header >> 3
    if (type === 3) throw this.#corrupt('a zstd block has the reserved type')
    if (size > MAX_BLOCK) throw this.#corrupt('a zstd block is larger than 128 KiB')
    this.#isLastBlock = (header & 1) !== 0
    // A block that repeats one byte holds just that byte; its size is that of the output.
    this.#enter('block', type === 1 ? 1 : size)
  }

  #readHeader(): ZstdFrame {
    const isSingleSegment = (this.#descriptor & 0x20) !== 0
    const idLength = DICTIONARY_ID_LENGTHS[this.#descriptor & 3] ?? 0
    const contentLength = contentSizeLength(this.#descriptor)
    const idOffset = isSingleSegment ? 0 : 1
    if (idLength > 0 && this.#field.readUIntLE(idOffset, idLength) !== 0) {
      throw this.#unsupported('it needs a zstd dictionary')
    }
    const contentSize = readContentSize(this.#field, idOffset + idLength, contentLength)
    const windowSize = isSingleSegment ? (contentSize ?? 0) : windowOf(this.#field.readUInt8(0))
    if (windowSize > MAX_WINDOW) {
      throw this.#unsupported(
        `its zstd window of ${windowSize} bytes is above the limit of ${MAX_WINDOW} bytes`,
      )
    }
    return { contentSize, windowSize }
  }

  #corrupt(why: string): OcimountError {
    return new OcimountError('LAYER_CORRUPT', `Cannot decompress ${this.#what}: ${why}`)
  }

  #unsupported(why: string): OcimountError {
    return new OcimountError('COMPRESSION_UNSUPPORTED', `Cannot decompress ${this.#what}: ${why}`)
  }
}

type State =
  'magic' | 'descriptor' | 'header' | 'block-header' | 'block' | 'checksum' | 'skip-size' | 'skip'

const MAGIC = 0xfd2fb528
const MAGIC_BYTES = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])
const SKIPPABLE_MAGIC = 0x184d2a50
// RFC 8878 3.1.1.2.4: a block never holds nor makes more.
const MAX_BLOCK = 128 * 1024
const DICTIONARY_ID_LENGTHS = [0, 1, 2, 4]

function isInFrame(state: State): boolean {
  switch (state) {
    case 'descriptor':
    case 'header':
    case 'block-header':
    case 'block':
    case 'checksum':
      return true
    case 'magic':
    case 'skip-size':
    case 'skip':
      return false
  }
}

function isCollected(state: State): boolean {
  return state !== 'block' && state !== 'skip' && state !== 'checksum'
}

function contentSizeLength(descriptor: number): number {
  const flag = descriptor >> 6
  if (flag === 0) return (descriptor & 0x20) !== 0 ? 1 : 0
  return 1 << flag
}

function headerLength(descriptor: number): number {
  const window = (descriptor & 0x20) !== 0 ? 0 : 1
  return window + (DICTIONARY_ID_LENGTHS[descriptor & 3] ?? 0) + contentSizeLength(descriptor)
}

function readContentSize(field: Buffer, offset: number, length: number): number | undefined {
  switch (length) {
    case 0:
      return undefined
    case 2:
      return field.readUInt16LE(offset) + 256
    case 8:
      // Beyond 2^53 it is inexact, and far beyond every limit too.
      return Number(field.readBigUInt64LE(offset))
    default:
      return field.readUIntLE(offset, length)
  }
}

function windowOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3))
  return base + (base / 8) * (descriptor & 7)
}
