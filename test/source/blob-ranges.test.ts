import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { parseDigest } from '../../src/image/digest.js'
import type { BlobPart } from '../../src/registry/client.js'
import { RegistryRanges } from '../../src/source/blob-ranges.js'
import { RangeQueue } from '../../src/source/range-queue.js'
import { sha256 } from '../helpers/build-image.js'

t.test('RegistryRanges takes no memory for requests that wait for their turn', async (t) => {
  const length = 64 * 1024 * 1024
  const ranges = new RegistryRanges({
    digest: parseDigest(sha256('any')),
    queue: new RangeQueue(),
    patienceMs: 60_000,
    async *readBlob({ signal }: BlobPart) {
      await sleep(60_000, undefined, { signal })
      yield Buffer.alloc(0)
    },
  })
  const closing = new AbortController()
  const options = { attempt: 0, isUrgent: true, signal: closing.signal }
  const before = process.memoryUsage().arrayBuffers
  const reads = Array.from({ length: 100 }, (_, n) =>
    ranges.read({ offset: n * length, length }, options),
  )
  await sleep(0)
  const taken = process.memoryUsage().arrayBuffers - before
  t.ok(taken <= 8 * length, `${taken} bytes`)
  closing.abort()
  for (const read of reads) await t.rejects(read, { code: 'INTERRUPTED' })
})

t.test('RegistryRanges counts what was sent since somebody waited', async (t) => {
  let give = (): void => undefined
  const given = new Promise<void>((resolve) => {
    give = resolve
  })
  const ranges = new RegistryRanges({
    digest: parseDigest(sha256('any')),
    queue: new RangeQueue(),
    patienceMs: 60_000,
    async *readBlob() {
      await given
      yield Buffer.alloc(1)
    },
  })
  const one = { offset: 0, length: 1 }
  const idle = { attempt: 0, isUrgent: false, signal: undefined }
  const [joined, hurried] = [new AbortController(), new AbortController()]
  const reads = [
    ranges.read(one, { ...idle, isUrgent: true }),
    ranges.read(one, { ...idle, hurry: joined.signal }),
    ...[1, 2, 3, 4].map(() => ranges.read(one, idle)),
    ranges.read(one, { ...idle, hurry: hurried.signal }),
  ]
  await sleep(0)
  t.match(ranges.fetched(), { requests: 5, demandRequests: 1 }, 'only four at a time ahead')
  hurried.abort()
  joined.abort()
  await sleep(0)
  t.match(
    ranges.fetched(),
    { requests: 6, demandRequests: 2 },
    'one that was under way is no other',
  )
  give()
  await Promise.all(reads)
  t.match(ranges.fetched(), { fetchedBytes: 7, requests: 7, demandRequests: 2 })
})

t.test('RegistryRanges lets nobody wait for a turn longer than for an answer', async (t) => {
  const ranges = new RegistryRanges({
    digest: parseDigest(sha256('any')),
    queue: new RangeQueue(),
    patienceMs: 200,
    async *readBlob({ signal }: BlobPart) {
      await sleep(60_000, undefined, { signal })
      yield Buffer.alloc(0)
    },
  })
  const hurry = new AbortController()
  const idle = { attempt: 0, isUrgent: false, signal: undefined, hurry: hurry.signal }
  const reads = Array.from({ length: 40 }, (_, n) => ranges.read({ offset: n, length: 1 }, idle))
  await sleep(0)
  hurry.abort()
  for (const { status } of await Promise.allSettled(reads)) t.equal(status, 'rejected')
  t.ok(ranges.fetched().requests <= 12, 'most never had a turn')
})
