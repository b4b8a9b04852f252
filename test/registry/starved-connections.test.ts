// Connections that hang or crawl while others would not: a second one takes over, and nobody waits for ever.

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { RegistryRanges } from '../../src/source/blob-ranges.js'
import { RangeQueue } from '../../src/source/range-queue.js'
import type { Fault, FaultRegistryOptions } from '../helpers/fault-registry.js'
import { FaultRegistry } from '../helpers/fault-registry.js'
import { client, digestOf, readAll } from './support.js'

const blob = randomBytes(400_000)
const timeouts = { connectMs: 1000, headersMs: 20_000, idleMs: 20_000, starvedMs: 400 }

async function setUp(
  t: Parameters<typeof client>[0],
  options: FaultRegistryOptions,
): Promise<{ registry: FaultRegistry; from: ReturnType<typeof client> }> {
  const registry = await FaultRegistry.start(t, options)
  registry.pushBlob(blob)
  return { registry, from: client(t, `${registry.host}/org/app`, { timeouts }) }
}

async function timed<T>(work: Promise<T>): Promise<{ result: T; ms: number }> {
  const begin = performance.now()
  const result = await work
  return { result, ms: performance.now() - begin }
}

t.test('a connection that hangs gets a second one beside it', async (t) => {
  const cases: readonly [string, Fault][] = [
    ['in the middle', { stallAfter: 100_000 }],
    ['before its answer', { latencyMs: 60_000 }],
    ['with a byte now and then', { dripMs: 100 }],
  ]
  for (const [name, fault] of cases) {
    const { registry, from } = await setUp(t, {
      fault: ({ repeats }) => (repeats === 0 ? fault : undefined),
    })
    const { result, ms } = await timed(readAll(from, blob))
    t.ok(result.equals(blob), name)
    t.ok(ms < 5000, `${ms} ms, where the first one is given up after 20 s`)
    t.ok(registry.requests.length >= 2, 'more only where the machine is busy')
    t.ok(registry.bytesSent < blob.length * 1.5, 'little comes twice')
  }
})

t.test('the second connection is for the rest of the range', async (t) => {
  const { registry, from } = await setUp(t, {
    fault: ({ repeats }) => (repeats === 0 ? { stallAfter: 50_000 } : undefined),
  })
  const part = await readAll(from, blob, { offset: 1000, end: 201_000 })
  t.ok(part.equals(blob.subarray(1000, 201_000)))
  t.strictSame(
    registry.requests.slice(0, 2).map(({ range }) => range),
    ['bytes=1000-200999', 'bytes=51000-200999'],
  )
})

t.test('a connection that gets far less than others counts as starving', async (t) => {
  const other = randomBytes(1_500_000)
  const slow = digestOf(blob)
  const { registry, from } = await setUp(t, {
    fault: ({ path, repeats }) => ({
      bytesPerSecond: path.endsWith(slow) && repeats === 0 ? 20_000 : 1_000_000,
    }),
  })
  registry.pushBlob(other)
  const [{ result, ms }, rest] = await Promise.all([
    timed(readAll(from, blob)),
    readAll(from, other),
  ])
  t.ok(result.equals(blob) && rest.equals(other))
  t.ok(ms < 5000, `${ms} ms, where the first one would have taken 20 s`)
  t.ok(registry.count('blob', slow) >= 2)
})

t.test('where all are slow none of them starves', async (t) => {
  const registry = await FaultRegistry.start(t, { bytesPerSecond: 500_000 })
  const others = [randomBytes(400_000), randomBytes(400_000)]
  for (const other of others) registry.pushBlob(other)
  const from = client(t, `${registry.host}/org/app`, { timeouts: { ...timeouts, starvedMs: 600 } })
  await Promise.all(others.map((other) => readAll(from, other)))
  t.equal(registry.requests.length, 2)
})

t.test('a registry that wants no second connection gets none any more', async (t) => {
  const { registry, from } = await setUp(t, {
    fault: ({ repeats }) => (repeats === 0 ? { latencyMs: 1200 } : { status: 429 }),
  })
  t.ok((await readAll(from, blob)).equals(blob))
  t.equal(registry.requests.length, 2)
})

t.test('a reader that takes its time makes nobody starve', async (t) => {
  const { registry, from } = await setUp(t, {})
  const chunks: Buffer[] = []
  for await (const chunk of from.readBlob({ digest: digestOf(blob), size: blob.length })) {
    chunks.push(chunk)
    if (chunks.length % 4 === 0) await new Promise((resolve) => setTimeout(resolve, 250))
  }
  t.ok(Buffer.concat(chunks).equals(blob))
  t.equal(registry.requests.length, 1)
})

t.test('a process that was held up takes in what came meanwhile', async (t) => {
  const large = randomBytes(3_000_000)
  const { registry, from } = await setUp(t, { bytesPerSecond: 4_000_000 })
  registry.pushBlob(large)
  // Nothing else runs meanwhile, the registry of this process included: what it has sent before lies in the socket.
  setTimeout(() => {
    for (const until = performance.now() + 500; performance.now() < until;);
  }, 300)
  t.ok((await readAll(from, large)).equals(large))
  t.equal(registry.requests.length, 1)
})

t.test('a reader that stops leaves no connection behind', async (t) => {
  const { registry, from } = await setUp(t, { fault: () => ({ stallAfter: 1000 }) })
  const chunks = from.readBlob({ digest: digestOf(blob), size: blob.length })
  await chunks.next()
  await chunks.return()
  t.equal(registry.requests.length, 1)
})

t.test('a registry that drips keeps no read waiting for ever', async (t) => {
  const { from } = await setUp(t, { fault: () => ({ dripMs: 50 }) })
  const digest = digestOf(blob)
  const ranges = new RegistryRanges({
    digest,
    readBlob: (part) => from.readBlob({ digest, size: blob.length }, part),
    queue: new RangeQueue(),
    patienceMs: 700,
  })
  const { result, ms } = await timed(
    ranges
      .read({ offset: 0, length: 300_000 }, { attempt: 0, isUrgent: true })
      .catch((error: unknown) => error),
  )
  t.match(result, {
    code: 'REGISTRY_UNAVAILABLE',
    message: /sent hardly anything of it for 0.7 seconds/,
  })
  t.ok(ms < 5000, `${ms} ms`)
})

t.test('a document that drips is given up', async (t) => {
  const registry = await FaultRegistry.start(t, { fault: () => ({ dripMs: 100 }) })
  registry.pushManifest('org/app', Buffer.alloc(4000, ' '), undefined, 'v1')
  const from = client(t, `${registry.host}/org/app`, {
    timeouts: { ...timeouts, documentMs: 500 },
    retries: { attempts: 1 },
  })
  const { result, ms } = await timed(from.fetchManifest('v1').catch((error: unknown) => error))
  t.match(result, { code: 'REGISTRY_UNAVAILABLE', message: /hardly sends anything/ })
  t.ok(ms < 5000, `${ms} ms`)
})
