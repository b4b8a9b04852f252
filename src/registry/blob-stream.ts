// One blob from one server, in one piece to whoever reads it: lost connections are taken up again where they broke off
// (checklist E-060), one that starves gets a second one beside it, and nothing counts as the asked-for bytes unless the server says that it is (E-050 to E-056).

import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import type { Digest } from '../image/digest.js'
import { Pace } from './pace.js'
import { refuseEncoding } from './response-checks.js'
import { protocolError, RegistryError } from './registry-error.js'
import { Retries, type RetryPolicy } from './retry.js'
import type { BlobServer } from './site.js'
import { readSteadily } from './steady-stream.js'
import type { StreamRates } from './stream-rates.js'
import { discard, type HttpResponse, type Transport } from './transport.js'

export interface BlobRequest {
  readonly digest: Digest
  readonly size: number
  /** Where to stop; undefined: at its end. */
  readonly end?: number | undefined
  /** What this is for, in words that follow "Cannot ". */
  readonly what: string
  readonly signal: AbortSignal | undefined
  readonly transport: Transport
  /** Of all that the client reads. */
  readonly rates: StreamRates
}

/**
 * Reads a blob from `offset` to its end, or a part of it: then the whole blob is no answer.
 *
 * @throws RegistryError after as many failures in a row, without progress between them, as the policy allows, with the detail
 *   `ranges: 'ignored'` for a server that gives no parts; OcimountError `SIZE_MISMATCH` for a blob of another size, `INTERRUPTED`
 */
export async function* readBlob(
  server: BlobServer,
  request: BlobRequest,
  offset: number,
  policy: RetryPolicy,
): AsyncGenerator<Buffer, void, undefined> {
  const { size, end = size, signal } = request
  const retries = new Retries(policy, signal)
  let done = offset
  let mark = offset
  while (done < end) {
    try {
      const open = (from: number, stop: AbortSignal): AsyncGenerator<Buffer> =>
        readOnce(server, { ...request, signal: anyOf(signal, stop) }, from)
      for await (const chunk of readSteadily(open, done, request.rates)) {
        done += chunk.length
        if (done - mark >= PROGRESS_BYTES) {
          mark = done
          retries.reset()
        }
        yield chunk
      }
    } catch (error) {
      await retries.pauseAfter(error)
    }
  }
}

/** Less than this between two failures is no progress. */
const PROGRESS_BYTES = 64 * 1024

function anyOf(signal: AbortSignal | undefined, stop: AbortSignal): AbortSignal {
  return signal === undefined ? stop : AbortSignal.any([signal, stop])
}

async function* readOnce(
  server: BlobServer,
  request: BlobRequest,
  offset: number,
): AsyncGenerator<Buffer, void, undefined> {
  const { digest, size, end: partEnd, what, signal, transport } = request
  const isPart = partEnd !== undefined
  const response = await server.get({
    path: `blobs/${digest}`,
    what,
    headers: {
      'accept-encoding': 'identity',
      ...(isPart
        ? { range: `bytes=${offset}-${partEnd - 1}` }
        : offset === 0
          ? {}
          : { range: `bytes=${offset}-` }),
    },
    signal,
  })
  try {
    refuseEncoding(response, what)
    if (isPart && response.status === 200) throw rangesIgnored(request, response)
    // The whole blob is a right answer to a question for its end; what is known of it already is passed over.
    let skip = response.status === 206 ? 0 : offset
    let end = response.status === 206 ? checkRange(response, request, offset) : size
    if (response.status === 200) checkLength(response, request)
    end -= offset
    let done = 0
    const pace = new Pace(transport.timeouts.idleMs)
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      const part = chunk.subarray(Math.min(skip, chunk.length))
      skip -= chunk.length - part.length
      if (part.length === 0) continue
      done += part.length
      if (done > end) throw tooLong(request)
      if (pace.isTooSlow(part.length) && done < end)
        throw cut(request, response, 'hardly sends anything')
      yield part
    }
    if (done < end) throw cut(request, response, 'ended the answer early')
  } catch (error) {
    throw response.failure(error)
  } finally {
    discard(response)
  }
}

/** Gives the offset behind the last byte that the answer holds. */
function checkRange(
  response: HttpResponse,
  { size, end: wantedEnd = size, what }: BlobRequest,
  offset: number,
): number {
  const type = response.header('content-type') ?? ''
  if (/^multipart\//i.test(type)) throw protocolError(what, 'one range was asked for, several came')
  const header = response.header('content-range') ?? ''
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/.exec(header.trim())
  const [, first, last, total] = match ?? []
  const shown = escapeText(header.slice(0, 100))
  if (match === null || Number(first) !== offset) {
    throw protocolError(what, `bytes from ${offset} were asked for, the answer holds "${shown}"`)
  }
  if (total !== '*' && Number(total) !== size) throw sizeMismatch(what, size, Number(total))
  const end = Number(last) + 1
  if (end <= offset || end > wantedEnd) {
    throw protocolError(
      what,
      `bytes up to ${wantedEnd} were asked for, the answer holds "${shown}"`,
    )
  }
  return end
}

/** A blob of another size is seen before a byte of it is read. */
function checkLength(response: HttpResponse, { size, what }: BlobRequest): void {
  const length = response.header('content-length')
  if (length === undefined || !/^\d{1,16}$/.test(length) || Number(length) === size) return
  throw sizeMismatch(what, size, Number(length))
}

function rangesIgnored({ what }: BlobRequest, { url }: HttpResponse): RegistryError {
  const why = `${escapeText(url.host)} sends the whole blob where a part was asked for`
  return protocolError(what, why, { ranges: 'ignored' })
}

function tooLong({ what, size }: BlobRequest): OcimountError {
  return new OcimountError('SIZE_MISMATCH', `Cannot ${what}: more than ${size} bytes came`)
}

function sizeMismatch(what: string, expected: number, actual: number): OcimountError {
  const message = `Cannot ${what}: it has ${actual} bytes instead of ${expected}`
  return new OcimountError('SIZE_MISMATCH', message, { details: { expected, actual } })
}

function cut({ what }: BlobRequest, { url }: HttpResponse, how: string): RegistryError {
  const message = `Cannot ${what}: ${escapeText(url.host)} ${how}`
  return new RegistryError('REGISTRY_UNAVAILABLE', message, {
    isTransient: true,
    isUnreachable: true,
  })
}
