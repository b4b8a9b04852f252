import t from 'tap'
import type { ByteString } from '../../src/byte-string.js'
import { DirectoryCache } from '../../src/mount/directory-cache.js'

const path = (number: number): ByteString => `/d${number}` as ByteString

t.test('DirectoryCache keeps what is used and stays bounded', async (t) => {
  const cache = new DirectoryCache(10)
  for (let number = 0; number < 1000; number++) {
    cache.set(path(number), number)
    t.equal(cache.get(path(0)), 0)
  }
  const known = Array.from({ length: 1000 }, (_, number) => cache.get(path(number)) ?? -1)
  const kept = known.filter((nid) => nid >= 0)
  t.ok(kept.length >= 10 && kept.length <= 20, `${kept.length} are kept`)
  t.ok(known.every((nid, number) => nid === -1 || nid === number))
  t.equal(cache.get(path(5000)), undefined)
})
