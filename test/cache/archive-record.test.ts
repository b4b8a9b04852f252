import t from 'tap'
import {
  decodeArchiveRecord,
  encodeArchiveRecord,
  mergeRegions,
  type ArchiveRegion,
} from '../../src/cache/archive-record.js'
import { Cache } from '../../src/cache/cache.js'
import { identityKey, isSameIdentity } from '../../src/cache/file-identity.js'
import { seal } from '../../src/cache/sealed-file.js'
import { writeFileSync } from 'node:fs'
import { digestOf } from '../../src/image/digest.js'

const identity = { dev: '1', ino: '2', size: 1000, mtimeNs: '3', ctimeNs: '4' }
const a = digestOf(Buffer.from('a'))
const b = digestOf(Buffer.from('b'))
const first: ArchiveRegion = { form: 'plain', offset: 0, length: 100, diffId: a }
const second: ArchiveRegion = { form: 'plain', offset: 512, length: 100, digest: b, diffId: a }

t.test('mergeArchiveRecord() adds to what is known of exactly this file', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  t.equal(await cache.getArchiveRecord(identity), undefined)
  await cache.mergeArchiveRecord(identity, [second])
  await cache.mergeArchiveRecord(identity, [first, second])
  t.strictSame(await cache.getArchiveRecord(identity), { identity, regions: [first, second] })
  for (const key of ['dev', 'ino', 'size', 'mtimeNs', 'ctimeNs'] as const) {
    const other = key === 'size' ? { ...identity, size: 1001 } : { ...identity, [key]: '9' }
    t.notOk(isSameIdentity(identity, other))
    t.equal(await cache.getArchiveRecord(other), undefined, `another ${key}`)
  }
})

t.test('mergeArchiveRecord() loses nothing when many add at once', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const regions = Array.from({ length: 12 }, (_, n) => ({
    form: 'plain' as const,
    offset: n,
    length: 1,
    diffId: a,
  }))
  await Promise.all(regions.map((region) => cache.mergeArchiveRecord(identity, [region])))
  t.strictSame((await cache.getArchiveRecord(identity))?.regions, regions)
})

t.test('getArchiveRecord() drops a record that is about another file', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const payload = encodeArchiveRecord({ identity: { ...identity, ino: '9' }, regions: [first] })
  writeFileSync(cache.archiveRecordPath(identity), Buffer.concat([payload, seal([payload])]))
  t.equal(await cache.getArchiveRecord(identity), undefined)
  await cache.mergeArchiveRecord(identity, [second])
  t.strictSame((await cache.getArchiveRecord(identity))?.regions, [second])
})

t.test('mergeRegions() keeps what differs in anything', (t) => {
  t.equal(mergeRegions([first, second], [second, first]), undefined)
  t.strictSame(mergeRegions([second], [first, { ...second, diffId: b }]), [
    first,
    second,
    { ...second, diffId: b },
  ])
  const plain = {
    form: 'plain' as const,
    offset: second.offset,
    length: second.length,
    diffId: second.diffId,
  }
  t.strictSame(mergeRegions([second], [plain]), [second, plain])
  t.end()
})

t.test('decodeArchiveRecord() refuses what is malformed', (t) => {
  const good = { version: 2, identity, regions: [second] }
  const cases: Record<string, unknown> = {
    'not JSON': '{',
    'not an object': [],
    null: null,
    'another version': { ...good, version: 3 },
    'no identity': { ...good, identity: undefined },
    'no regions': { ...good, regions: {} },
    'too many regions': { ...good, regions: new Array(10_001).fill(first) },
    'a region that is no object': { ...good, regions: [1] },
    'a negative offset': { ...good, regions: [{ ...second, offset: -1 }] },
    'a length beyond the end': { ...good, regions: [{ ...second, length: 489 }] },
    'a length that is text': { ...good, regions: [{ ...second, length: '1' }] },
    'a diffId that is none': { ...good, regions: [{ ...second, diffId: 'sha256:../..' }] },
    'a digest that is none': { ...good, regions: [{ ...second, digest: 1 }] },
    'no diffId': { ...good, regions: [{ form: 'plain', offset: 0, length: 0 }] },
    'no form': { ...good, regions: [{ ...second, form: undefined }] },
    'a packed region without a digest': { ...good, regions: [{ ...first, form: 'gzip' }] },
  }
  t.strictSame(decodeArchiveRecord(Buffer.from(JSON.stringify(good)), identity), {
    identity,
    regions: [second],
  })
  const bare = { ...first, form: undefined }
  const earlier = Buffer.from(JSON.stringify({ version: 1, identity, regions: [bare] }))
  t.strictSame(decodeArchiveRecord(earlier).regions, [first], 'version 1 had plain regions')
  for (const [name, value] of Object.entries(cases)) {
    const payload = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
    t.throws(() => decodeArchiveRecord(payload, identity), { code: 'CACHE_CORRUPT' }, name)
  }
  t.end()
})

t.test('identityKey() is a name for the identity', (t) => {
  t.match(identityKey(identity), /^[0-9a-f]{64}$/)
  t.not(
    identityKey({ ...identity, dev: '12', ino: '' }),
    identityKey({ ...identity, dev: '1', ino: '2' }),
  )
  t.end()
})
