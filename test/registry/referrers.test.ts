// What refers to an image: as a registry lists it, by a tag where it has no list, and nothing that only claims to.

import t from 'tap'
import { parseDigest } from '../../src/image/digest.js'
import { referrersTag } from '../../src/registry/referrers.js'
import { OCI, sha256 } from '../helpers/build-image.js'
import { FaultRegistry, type Fault, type SeenRequest } from '../helpers/fault-registry.js'
import { client } from './support.js'

const SUBJECT = Buffer.from('{"schemaVersion":2,"what":"an image"}')
const subject = parseDigest(sha256(SUBJECT))
const EMPTY = { mediaType: 'application/vnd.oci.empty.v1+json', digest: sha256('{}'), size: 2 }

interface Listed {
  readonly bytes: Buffer
  readonly descriptor: Readonly<Record<string, unknown>>
}

/** Makes a manifest that refers to something; `listed` changes what a list says of it. */
function referrer(
  artifactType: string,
  about: { refersTo?: string | null; title?: string; listed?: object } = {},
): Listed {
  const { refersTo = subject, title = artifactType, listed = {} } = about
  const document = {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    artifactType,
    config: EMPTY,
    layers: [EMPTY],
    ...(refersTo === null
      ? {}
      : { subject: { mediaType: OCI.manifest, digest: refersTo, size: SUBJECT.length } }),
    annotations: { 'org.opencontainers.image.title': title },
  }
  const bytes = Buffer.from(JSON.stringify(document))
  const descriptor = { mediaType: OCI.manifest, digest: sha256(bytes), size: bytes.length }
  return { bytes, descriptor: { ...descriptor, artifactType, ...listed } }
}

function index(items: readonly Listed[]): Buffer {
  const manifests = items.map(({ descriptor }) => descriptor)
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI.index, manifests }))
}

function page(items: readonly Listed[], headers: Readonly<Record<string, string>> = {}): Fault {
  return { status: 200, headers: { 'content-type': OCI.index, ...headers }, body: index(items) }
}

interface Answering {
  readonly registry: FaultRegistry
  readonly from: ReturnType<typeof client>
}

async function setUp(
  t: Parameters<typeof client>[0],
  items: readonly Listed[],
  answer: (request: SeenRequest, registry: FaultRegistry) => Fault | undefined,
): Promise<Answering> {
  const registry = await FaultRegistry.start(t)
  registry.options = {
    fault: (request) =>
      request.path.includes('/referrers/') ? answer(request, registry) : undefined,
  }
  for (const { bytes } of items) registry.pushManifest('org/app', bytes)
  return { registry, from: client(t, `${registry.host}/org/app`) }
}

t.test('what a registry lists', async (t) => {
  const items = [referrer('a/signature', { title: 'one' }), referrer('a/sbom', { title: 'two' })]
  const { from, registry } = await setUp(t, items, () => page(items))
  const { referrers, warnings } = await from.listReferrers(subject)
  t.strictSame(warnings, [])
  t.match(referrers, [
    { subject, digest: items[0]?.descriptor['digest'], artifactType: 'a/signature' },
    { subject, digest: items[1]?.descriptor['digest'], artifactType: 'a/sbom' },
  ])
  t.equal(referrers[1]?.annotations.get('org.opencontainers.image.title'), 'two')
  t.equal(referrers[1]?.size, items[1]?.bytes.length)
  t.equal(registry.requests[0]?.path, `/v2/org/app/referrers/${subject}`)
})

t.test('a filter holds whether or not the registry knows it', async (t) => {
  const items = [referrer('a/signature'), referrer('a/sbom')]
  for (const applied of [true, false]) {
    const headers: Record<string, string> = applied ? { 'oci-filters-applied': 'artifactType' } : {}
    const { from, registry } = await setUp(t, items, () =>
      page(applied ? items.slice(1) : items, headers),
    )
    const { referrers } = await from.listReferrers(subject, { artifactType: 'a/sbom' })
    t.match(referrers, [{ artifactType: 'a/sbom' }])
    t.equal(referrers.length, 1)
    t.match(registry.requests[0]?.path, /\?artifactType=a%2Fsbom$/)
  }
})

t.test('referrers of another subject, and others that are not what is listed', async (t) => {
  const other = sha256('another image')
  const good = referrer('a/good')
  const items = [
    good,
    referrer('a/other', { refersTo: other }),
    referrer('a/nothing', { refersTo: null }),
    referrer('a/longer', { listed: { size: 3 } }),
    referrer('a/index', { listed: { mediaType: OCI.index } }),
  ]
  const missing = referrer('a/missing')
  const { from } = await setUp(t, items, () => page([...items, missing, good]))
  const { referrers, warnings } = await from.listReferrers(subject)
  t.match(referrers, [{ artifactType: 'a/good' }])
  t.equal(referrers.length, 1, 'once, however often it is listed')
  const reasons = [
    new RegExp(`but refers to ${other}$`),
    /but refers to nothing$/,
    /it has \d+ bytes instead of 3/,
    /it cannot be used: .*mediaType/,
    /it is not there$/,
  ]
  t.equal(warnings.length, reasons.length)
  for (const [n, reason] of reasons.entries()) t.match(warnings[n], reason)
})

t.test('what a list says of a type counts for nothing', async (t) => {
  const item = referrer('a/sbom', { listed: { artifactType: 'a/signature' } })
  const { from } = await setUp(t, [item], () => page([item]))
  t.match(await from.listReferrers(subject), { referrers: [{ artifactType: 'a/sbom' }] })
  t.match(await from.listReferrers(subject, { artifactType: 'a/signature' }), { referrers: [] })
})

t.test('pages', async (t) => {
  const items = Array.from({ length: 5 }, (_, n) => referrer(`a/n${n}`))
  const next = (n: number): string => `</v2/org/app/referrers/${subject}?n=${n}>; rel="next"`
  const { from, registry } = await setUp(t, items, ({ path }) => {
    const n = Number(/n=(\d)/.exec(path)?.[1] ?? 0)
    return page(items.slice(n, n + 1), n < 4 ? { link: next(n + 1) } : {})
  })
  const { referrers } = await from.listReferrers(subject)
  t.strictSame(
    referrers.map(({ artifactType }) => artifactType),
    items.map((_, n) => `a/n${n}`),
  )

  registry.options = { fault: () => page([], { link: next(1) }) }
  await t.rejects(from.listReferrers(subject), {
    code: 'LIMIT_EXCEEDED',
    message: /more than 50 pages/,
  })
})

t.test('a list that goes on somewhere else is not followed', async (t) => {
  const elsewhere = await FaultRegistry.start(t)
  const links = [
    `<http://${elsewhere.host}/v2/org/app/referrers/${subject}?n=1>; rel="next"`,
    `<//${elsewhere.host}/v2/org/app/referrers/${subject}?n=1>; rel=next`,
    `<file:///etc/passwd>; rel="next"`,
    `</v2/org/other/referrers/${subject}>; rel="next"`,
    `</v2/org/app/blobs/${subject}>; rel="next"`,
    `<../../org/app/manifests/v1>; rel="next"`,
  ]
  for (const link of links) {
    const { from } = await setUp(t, [], () => page([], { link }))
    await t.rejects(from.listReferrers(subject), {
      code: 'REGISTRY_UNAVAILABLE',
      message: /goes on somewhere else, which is not followed/,
    })
  }
  t.equal(elsewhere.requests.length, 0)
  const { from } = await setUp(t, [], () => page([], { link: '</v2/>; rel="last"' }))
  t.match(await from.listReferrers(subject), { referrers: [] })
})

t.test('a registry without such a list has a tag', async (t) => {
  for (const status of [404, 405]) {
    const item = referrer('a/sbom')
    const { from, registry } = await setUp(t, [item], () => ({ status }))
    t.match(await from.listReferrers(subject), { referrers: [], warnings: [] })
    registry.pushManifest('org/app', index([item]), OCI.index, referrersTag(subject))
    t.match(await from.listReferrers(subject), { referrers: [{ artifactType: 'a/sbom' }] })
    t.match(await from.listReferrers(subject, { artifactType: 'a/x' }), { referrers: [] })
    registry.pushManifest('org/app', SUBJECT, OCI.manifest, referrersTag(subject))
    t.match(await from.listReferrers(subject), { referrers: [] }, 'a tag of something else')
  }
})

t.test('more than anybody can look at is told, by tag too', async (t) => {
  const item = referrer('a/sbom')
  const many = index(Array.from({ length: 1001 }, () => item))
  const tooMany = { code: 'LIMIT_EXCEEDED', message: /more than 1000 entries/ }
  const listing = await setUp(t, [item], () => ({ status: 200, body: many }))
  await t.rejects(listing.from.listReferrers(subject), tooMany)
  const tagging = await setUp(t, [item], () => ({ status: 404 }))
  tagging.registry.pushManifest('org/app', many, OCI.index, referrersTag(subject))
  await t.rejects(tagging.from.listReferrers(subject), tooMany)
})

t.test('referrersTag()', (t) => {
  t.equal(referrersTag(subject), subject.replace(':', '-'))
  const sha512 = parseDigest(`sha512:${'ab'.repeat(64)}`)
  t.equal(referrersTag(sha512), `sha512-${'ab'.repeat(32)}`)
  const odd = parseDigest(
    `test+algorithm+using+algorithm+separators+and+lots+of+characters:${'x'.repeat(80)}`,
  )
  t.equal(referrersTag(odd), `test-algorithm-using-algorithm-s-${'x'.repeat(64)}`)
  t.end()
})

t.test('a registry in trouble is no registry without referrers', async (t) => {
  const cases: readonly [Fault, string, RegExp][] = [
    [{ status: 503 }, 'REGISTRY_UNAVAILABLE', /is not available/],
    [{ status: 403 }, 'REGISTRY_DENIED', /refuses/],
    [{ status: 200, body: index([]), cutAfter: 10 }, 'REGISTRY_UNAVAILABLE', /^Cannot list what/],
    [{ status: 200, body: 'no list' }, 'IMAGE_INVALID', /./],
    [{ status: 200, body: SUBJECT }, 'IMAGE_INVALID', /./],
    [{ status: 200, body: Buffer.alloc(9 * 1024 * 1024, ' ') }, 'LIMIT_EXCEEDED', /larger than/],
  ]
  for (const [fault, code, message] of cases) {
    const { from } = await setUp(t, [], () => fault)
    await t.rejects(from.listReferrers(subject), { code, message })
  }
})
