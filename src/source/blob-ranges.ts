// Parts of a blob out of a registry, for layers that are read while they are mounted. Nobody waits for a part for ever: a registry
// that says nothing for a while makes the read fail, and the next one ask again.

import type { FetchStats } from '../cache/piece-maker.js'
import { isOcimountError, messageOf, OcimountError } from '../errors.js'
import type { Digest } from '../image/digest.js'
import type { BlobRanges, RangeOptions } from '../layer/layer-blob.js'
import type { BlobPart } from '../registry/client.js'
import { RegistryError } from '../registry/registry-error.js'
import type { RangeQueue } from './range-queue.js'

/** How long a registry may say nothing, in milliseconds, unless the user says otherwise. */
export const DEFAULT_PATIENCE_MS = 30_000
/** What has to come in that time, unless less is left: a byte now and then is as good as nothing. */
const PROGRESS_BYTES = 64 * 1024

export interface RegistryRangesParts {
  readonly digest: Digest
  /** @throws OcimountError where nobody may be asked */
  readonly readBlob: (range: BlobPart) => AsyncIterable<Buffer>
  /** That of the image. */
  readonly queue: RangeQueue
  readonly patienceMs: number
}

interface Stretch {
  readonly offset: number
  readonly length: number
}

/** What was asked for before anybody wanted it. */
interface EarlyPart extends Stretch {
  readonly bytes: Promise<Buffer>
  readonly stop: AbortController
}

/** One blob of a registry. */
export class RegistryRanges implements BlobRanges {
  readonly #parts: RegistryRangesParts
  #fetchedBytes = 0
  #requests = 0
  #demandRequests = 0
  #lastError: string | undefined
  readonly #early: EarlyPart[] = []
  /** What the registry said last since it gave something. */
  #lastAnswer: OcimountError | undefined

  constructor(parts: RegistryRangesParts) {
    this.#parts = parts
  }

  fetched(): FetchStats {
    return {
      ...{ fetchedBytes: this.#fetchedBytes, requests: this.#requests },
      ...{ demandRequests: this.#demandRequests, lastError: this.#lastError },
    }
  }

  /**
   * Asks for a stretch at once, which the first {@link RegistryRanges.read} of it then gets. Gives undefined where that will be
   * an error.
   */
  anticipate({ offset, length }: Stretch, signal?: AbortSignal): Promise<Buffer | undefined> {
    const stop = new AbortController()
    const both = AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])])
    const options = { signal: both, attempt: 0, isUrgent: true }
    const bytes = this.#read({ offset, length }, options)
    this.#early.push({ offset, length, bytes, stop })
    return bytes.catch(() => undefined)
  }

  async read(range: Stretch, options: RangeOptions): Promise<Buffer> {
    try {
      const bytes = await (this.#takeEarly(range, options) ?? this.#read(range, options))
      this.#lastError = undefined
      this.#lastAnswer = undefined
      return bytes
    } catch (error) {
      if (!isOcimountError(error, 'INTERRUPTED')) this.#lastError = messageOf(error)
      throw error
    }
  }

  #takeEarly(
    { offset, length }: Stretch,
    { signal, attempt }: RangeOptions,
  ): Promise<Buffer> | undefined {
    const index = this.#early.findIndex((part) => part.offset === offset && part.length === length)
    const [early] = attempt > 0 || index < 0 ? [] : this.#early.splice(index, 1)
    if (early === undefined) return undefined
    const stop = (): void => {
      early.stop.abort()
    }
    signal?.addEventListener('abort', stop, { once: true })
    if (signal?.aborted === true) stop()
    return early.bytes.finally(() => signal?.removeEventListener('abort', stop))
  }

  async #read(
    { offset, length }: Stretch,
    { signal, attempt, isUrgent, isLikely, hurry, onArrived }: RangeOptions,
  ): Promise<Buffer> {
    const { digest, readBlob, queue, patienceMs } = this.#parts
    const patience = new AbortController()
    let timer: NodeJS.Timeout | undefined
    let done = 0
    const wait = (): void => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        patience.abort()
      }, patienceMs)
    }
    // Who fills idle time has the time to wait for a turn, until somebody waits for it.
    const onHurry = (): void => {
      if (timer === undefined) wait()
    }
    if (isUrgent || hurry?.aborted === true) wait()
    else hurry?.addEventListener('abort', onHurry, { once: true })
    const both = AbortSignal.any([patience.signal, ...(signal === undefined ? [] : [signal])])
    try {
      const turn = { isUrgent, isLikely, bytes: length, hurry, signal: both }
      return await queue.run(turn, async (isAwaited, onBytes) => {
        wait()
        this.#requests++
        if (isAwaited) this.#demandRequests++
        // Not before: any number of requests may wait for their turn.
        const target = Buffer.allocUnsafe(length)
        const options = { offset, end: offset + length, startAt: attempt, signal: both }
        let mark = 0
        for await (const chunk of readBlob(options)) {
          this.#fetchedBytes += chunk.length
          done += chunk.copy(target, done)
          onBytes(chunk.length)
          onArrived?.(target, done)
          if (done - mark < PROGRESS_BYTES) continue
          mark = done
          wait()
        }
        if (done < length) throw new OcimountError('INTERNAL', 'Cannot read a part: it is short')
        return target
      })
    } catch (error) {
      const what = `blob ${digest}`
      if (signal?.aborted === true) {
        const message = `Cannot read ${what}: it was interrupted`
        throw new OcimountError('INTERRUPTED', message, { cause: error })
      }
      if (!patience.signal.aborted) throw error
      if (error instanceof Error && isOcimountError(error.cause)) this.#lastAnswer = error.cause
      throw givenUp(what, patienceMs, { cause: error, lastAnswer: this.#lastAnswer, done })
    } finally {
      clearTimeout(timer)
      hurry?.removeEventListener('abort', onHurry)
    }
  }
}

/** Says what the registry said last, where it said anything. */
function givenUp(
  what: string,
  patienceMs: number,
  {
    cause,
    lastAnswer,
    done,
  }: {
    readonly cause: unknown
    readonly lastAnswer: OcimountError | undefined
    readonly done: number
  },
): RegistryError {
  const seconds = `${patienceMs / 1000} seconds`
  const message =
    lastAnswer === undefined
      ? `Cannot read ${what}: its registry sent ${done === 0 ? 'nothing' : 'hardly anything'} of it for ${seconds}`
      : `${lastAnswer.message}; given up after ${seconds}`
  return new RegistryError('REGISTRY_UNAVAILABLE', message, {
    ...{ cause, isTransient: true, isUnreachable: true },
  })
}
