// Blobs over connections that break, and from servers that lie: the right bytes or a clear error, soon.

import { randomBytes } from 'node:crypto'
import t from 'tap'
import type { Fault, FaultRegistryOptions } from '../helpers/fault-registry.js'
import { FaultRegistry } from '../helpers/fault-registry.js'
import { client, digestOf, directoryOf, QUICK, readAll } from './support.js'

const blob = randomBytes(300_000)

async function setUp(
  t: Parameters<typeof client>[0],
  options: FaultRegistryOptions = {},
): Promise<{ registry: FaultRegistry; from: ReturnType<typeof client> }> {
  const registry = await FaultRegistry.start(t, options)
  registry.pushBlob(blob)
  return { registry, from: client(t, `${registry.host}/org/app`) }
}

t.test('a blob is read whole, or from some byte on', async (t) => {
  const { registry, from } = await setUp(t)
  t.ok((await readAll(from, blob)).equals(blob))
  t.ok((await readAll(from, blob, { offset: 1234 })).equals(blob.subarray(1234)))
  t.equal((await readAll(from, blob, { offset: blob.length })).length, 0)
  t.equal((await readAll(from, Buffer.alloc(0))).length, 0)
  t.equal(registry.count('blob'), 2, 'an empty range is never asked for')
  t.match(registry.requests.at(-1), { range: 'bytes=1234-', userAgent: /ocimount/ })
})

t.test('a connection that breaks is taken up where it broke', async (t) => {
  const faults: Fault[] = [{ cutAfter: 100_000 }, { cutAfter: 50_000 }, { stallAfter: 20_000 }]
  const { registry, from } = await setUp(t, { fault: ({ repeats }) => faults[repeats] })
  t.ok((await readAll(from, blob)).equals(blob))
  t.strictSame(
    registry.requests.map(({ range }) => range !== undefined),
    [false, true, true, true],
  )
  t.ok(registry.bytesSent < blob.length * 1.5, 'little is fetched twice')
})

t.test('a whole blob is a right answer to a request for its end', async (t) => {
  const { from } = await setUp(t, {
    fault: ({ repeats }) => (repeats === 0 ? { cutAfter: 100_000 } : { ignoreRange: true }),
  })
  t.ok((await readAll(from, blob)).equals(blob))
})

t.test('a server in trouble is asked again', async (t) => {
  const faults: Fault[] = [
    { status: 503, body: 'down' },
    { status: 429, headers: { 'retry-after': '0' } },
    { cutAfter: 0 },
  ]
  const { registry, from } = await setUp(t, { fault: ({ repeats }) => faults[repeats] })
  t.ok((await readAll(from, blob)).equals(blob))
  t.equal(registry.count('blob'), 4)
})

t.test('what never works ends in words', async (t) => {
  const long = `bytes 100000-${blob.length}/${blob.length}`
  const cases: readonly [string, Fault, RegExp, string?][] = [
    ['an endless stall', { stallAfter: 0 }, /stopped sending/],
    ['a trickle', { dripMs: 20 }, /hardly sends anything/],
    ['no answer', { latencyMs: 5000 }, /does not answer/],
    ['cut each time', { cutAfter: 0 }, /the connection was cut|ended the answer early/],
    [
      '503',
      { status: 503, body: 'maintenance\u001b[2J' },
      /not available \(status 503, maintenance\\x1b\[2J\)/,
    ],
    ['429', { status: 429, headers: { 'retry-after': '3600' } }, /limits the rate.*status 429/],
    ['403', { status: 403, body: '<html>no</html>' }, /refuses \(status 403\)/, 'REGISTRY_DENIED'],
    ['416', { status: 416 }, /does not have that range/],
    ['a packed body', { gzip: true }, /sends it encoded as gzip/],
    [
      'a larger blob',
      { headers: { 'content-length': '300001' }, cutAfter: 10 },
      /300001 bytes/,
      'SIZE_MISMATCH',
    ],
    ['a range of its own', { contentRange: `bytes 7-99/${blob.length}` }, /were asked for/],
    ['a range beyond the end', { contentRange: long }, /were asked for/],
    [
      'another total',
      { contentRange: 'bytes 100000-299999/300001' },
      /300001 bytes/,
      'SIZE_MISMATCH',
    ],
    ['no range', { contentRange: '' }, /were asked for/],
    ['several ranges', { multipart: true }, /several came/],
  ]
  for (const [name, fault, why, code = 'REGISTRY_UNAVAILABLE'] of cases) {
    const registry = await FaultRegistry.start(t, { fault: () => fault })
    registry.pushBlob(blob)
    // The clock of undici ticks once a second.
    const isSlow = fault.stallAfter !== undefined || fault.latencyMs !== undefined
    const retries = isSlow ? { ...QUICK, attempts: 1 } : QUICK
    const from = client(t, `${registry.host}/org/app`, { retries })
    const offset = fault.contentRange !== undefined || fault.multipart === true ? 100_000 : 0
    const error = await readAll(from, blob, { offset }).then(
      () => undefined,
      (cause: unknown) => cause,
    )
    t.match(error, { code, message: why }, name)
    t.notMatch((error as Error).message, /\n|https?:/, 'one line without addresses')
  }
})

t.test('a blob that is not there', async (t) => {
  const { from } = await setUp(t)
  const message = /does not have it \(status 404, BLOB_UNKNOWN: blob unknown to registry\)$/
  await t.rejects(readAll(from, Buffer.from('no')), { code: 'REFERENCE_NOT_FOUND', message })
})

t.test('a length that is no lie of the header is found out at the end', async (t) => {
  const { from } = await setUp(t)
  await t.rejects(readAll(from, blob, { size: blob.length - 1 }), { code: 'SIZE_MISMATCH' })
  await t.rejects(readAll(from, blob, { size: blob.length + 1 }), { code: 'SIZE_MISMATCH' })
})

t.test('stopping stops', async (t) => {
  const { from } = await setUp(t, { bytesPerSecond: 50_000 })
  const stop = new AbortController()
  setTimeout(() => {
    stop.abort()
  }, 100)
  const digest = digestOf(blob)
  const read = async (): Promise<void> => {
    const chunks = from.readBlob({ digest, size: blob.length }, { signal: stop.signal })
    while ((await chunks.next()).done !== true);
  }
  await t.rejects(read(), { code: 'INTERRUPTED' })
})

t.test('storage with addresses that run out', async (t) => {
  const { registry } = await setUp(t, {
    storageLifeMs: 150,
    bytesPerSecond: 1_000_000,
    auth: { kind: 'basic', users: { me: 'secret' } },
    fault: ({ kind }) =>
      kind === 'storage' && registry.count('storage') === 1 ? { cutAfter: 200_000 } : undefined,
  })
  const authFile = directoryOf(t, {
    'auth.json': JSON.stringify({
      auths: { [registry.host]: { auth: Buffer.from('me:secret').toString('base64') } },
    }),
  })
  const known = client(t, `${registry.host}/org/app`, { authFile: `${authFile}/auth.json` })
  t.ok((await readAll(known, blob)).equals(blob))
  t.ok(
    registry.count('blob') >= 3 && registry.count('storage') === 2,
    'the registry is asked for a new address',
  )
  const stored = registry.requests.filter(({ kind }) => kind === 'storage')
  t.ok(stored.every(({ authorization }) => authorization === undefined))
  t.ok(registry.requests.every(({ method }) => method === 'GET'))
})

t.test('redirects that are not followed', async (t) => {
  const cases: readonly [string, RegExp, string][] = [
    [
      'http://169.254.169.254/latest',
      /169\.254\.169\.254 is a link-local address/,
      'REGISTRY_DENIED',
    ],
    ['http://[fe80::1]/x', /fe80::1 is a link-local address/, 'REGISTRY_DENIED'],
    ['http://[::ffff:169.254.169.254]/x', /link-local/, 'REGISTRY_DENIED'],
    ['file:///etc/passwd', /something else than http/, 'REGISTRY_UNAVAILABLE'],
    ['/v2/org/app/blobs/again', /in circles/, 'REGISTRY_UNAVAILABLE'],
    ['', /to nowhere/, 'REGISTRY_UNAVAILABLE'],
  ]
  for (const [location, message, code] of cases) {
    const { from } = await setUp(t, {
      fault: () => ({ status: 302, headers: location === '' ? {} : { location } }),
    })
    await t.rejects(readAll(from, blob), { code, message }, location)
  }
})

t.test('a layer that its owner keeps is fetched from there, with nothing to show', async (t) => {
  const owner = await FaultRegistry.start(t)
  owner.pushBlob(blob)
  const registry = await FaultRegistry.start(t)
  const from = client(t, `${registry.host}/org/app`)
  const good = `http://${owner.host}/v2/any/blobs/${digestOf(blob)}`
  t.ok((await readAll(from, blob, { urls: [`http://${owner.host}/none`, good] })).equals(blob))
  await t.rejects(readAll(from, blob, { urls: ['http://169.254.169.254/x'] }), {
    code: 'REFERENCE_NOT_FOUND',
  })
})

t.test('a part of a blob, and what is none', async (t) => {
  const part = { offset: 1000, end: 5000 }
  const wanted = blob.subarray(1000, 5000)
  const { from, registry } = await setUp(t, {})
  t.ok((await readAll(from, blob, part)).equals(wanted))
  t.equal(registry.requests.at(-1)?.range, 'bytes=1000-4999')
  t.ok((await readAll(from, blob, { offset: blob.length - 9, end: blob.length })).length === 9)
  t.equal((await readAll(from, blob, { offset: 7, end: 7 })).length, 0)

  registry.options = { fault: ({ repeats }) => (repeats % 3 < 2 ? { cutAfter: 1500 } : undefined) }
  t.ok((await readAll(from, blob, part)).equals(wanted), 'taken up where it broke off')
  const lies: [Fault, RegExp][] = [
    [{ ignoreRange: true }, /sends the whole blob where a part was asked for/],
    [{ contentRange: `bytes 1000-5000/${blob.length}` }, /bytes up to 5000 were asked for/],
    [{ contentRange: `bytes 999-4999/${blob.length}` }, /bytes from 1000 were asked for/],
    [{ contentRange: `bytes 1000-4999/${blob.length + 1}` }, /instead of/],
    [{ multipart: true }, /several came/],
  ]
  for (const [fault, why] of lies) {
    registry.options = { fault: () => fault }
    await t.rejects(readAll(from, blob, part), why)
  }
  registry.options = { fault: () => ({ ignoreRange: true }) }
  const error: unknown = await readAll(from, blob, { offset: 0, end: 10 }).catch(
    (reason: unknown) => reason,
  )
  t.match(error, { details: { ranges: 'ignored' } })
})
