import t from 'tap'
import { MemoryCache } from '../../src/cache/memory-cache.js'

t.test('MemoryCache keeps the entries used last', (t) => {
  const cache = new MemoryCache<string, object>({ maxEntries: 2 })
  const [a, b, c] = [{}, {}, {}]
  cache.set('a', a)
  cache.set('b', b)
  t.equal(cache.get('a'), a)
  cache.set('c', c)
  t.strictSame([cache.get('a'), cache.get('b'), cache.get('c')], [a, undefined, c])
  t.equal(cache.size, 2)
  cache.delete('a')
  t.equal(cache.get('a'), undefined)
  cache.clear()
  t.equal(cache.size, 0)
  t.end()
})

t.test('MemoryCache keeps within its bytes', (t) => {
  const cache = new MemoryCache<number, Buffer>({ maxBytes: 100, sizeOf: (value) => value.length })
  cache.set(1, Buffer.alloc(60))
  cache.set(2, Buffer.alloc(40))
  t.equal(cache.bytes, 100)
  cache.set(3, Buffer.alloc(1))
  t.equal(cache.get(1), undefined)
  t.equal(cache.bytes, 41)
  cache.set(4, Buffer.alloc(101))
  t.equal(cache.get(4), undefined, 'what is too large is not kept')
  t.ok(cache.get(2), 'and pushes nothing out')
  cache.set(5, Buffer.alloc(0))
  t.equal(cache.get(5)?.length, 0)
  t.end()
})
