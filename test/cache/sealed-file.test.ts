import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { readSealedFile, seal, SEAL_SIZE, unseal } from '../../src/cache/sealed-file.js'
import { fillLayer } from './layers.js'

t.test('seal() is what the header of the file says', (t) => {
  const parts = [Buffer.from('ab'), Buffer.from('c')]
  const trailer = seal(parts)
  t.equal(
    trailer.toString('hex'),
    '03000000000000004f43494d5345414c' +
      // printf 'abc\3\0\0\0\0\0\0\0OCIMSEAL' | sha256sum
      '88b7a6b2d115120425decacf23f3ba336bdc072a21d38b3af728c6d46f8d516a',
  )
  t.strictSame(seal([Buffer.from('abc')]), trailer, 'however the payload is cut')
  t.equal(unseal(Buffer.concat([...parts, trailer]), 'x').toString(), 'abc')
  t.equal(unseal(seal([]), 'x').length, 0)
  t.end()
})

t.test('unseal() notices any flipped bit and any other length', (t) => {
  const payload = Buffer.from('payload')
  const whole = Buffer.concat([payload, seal([payload])])
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const bytes = Buffer.from(whole)
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    if (!throws(bytes)) t.fail(`bit ${bit} passed`)
  }
  for (let length = 0; length < whole.length; length++) {
    if (!throws(whole.subarray(0, length))) t.fail(`length ${length} passed`)
  }
  t.ok(throws(Buffer.concat([whole, Buffer.alloc(1)])))
  t.ok(throws(Buffer.concat([Buffer.alloc(1), whole])))
  t.throws(() => unseal(Buffer.alloc(SEAL_SIZE - 1), '/a/b'), {
    code: 'CACHE_CORRUPT',
    message: 'Cannot use /a/b: it is too short to be sealed',
  })
  t.end()
})

function throws(bytes: Buffer): boolean {
  try {
    unseal(bytes, 'x')
    return false
  } catch {
    return true
  }
}

t.test('readSealed() gives back what writeSealed() took', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const path = cache.rootfsPath(1, 'key')
  t.equal(await cache.readSealed(path), undefined)
  for (const size of [0, 1, 3_000_000]) {
    const bytes = fillLayer(size, size)
    const middle = size >> 1
    await cache.writeSealed(path, [bytes.subarray(0, middle), bytes.subarray(middle)])
    t.ok((await cache.readSealed(path))?.equals(bytes))
    t.ok(readFileSync(path).subarray(0, size).equals(bytes), 'the payload starts the file')
  }
})

t.test('readSealed() removes a corrupt file and gives undefined', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const path = cache.rootfsPath(1, 'key')
  const damages: Record<string, () => void> = {
    flipped: () => {
      const bytes = readFileSync(path)
      bytes[1] = (bytes[1] ?? 0) ^ 0x80
      writeFileSync(path, bytes)
    },
    cut: () => {
      truncateSync(path, 10)
    },
    empty: () => {
      truncateSync(path, 0)
    },
    'zeros as after a power cut': () => {
      writeFileSync(path, Buffer.alloc(100))
    },
  }
  for (const [name, damage] of Object.entries(damages)) {
    await cache.writeSealed(path, [Buffer.from('payload')])
    damage()
    await t.rejects(readSealedFile(path), { code: 'CACHE_CORRUPT' }, name)
    t.equal(await cache.readSealed(path), undefined, name)
    t.notOk(existsSync(path), name)
  }
})

t.test('readSealed() neither follows a link nor waits for a FIFO', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const path = cache.rootfsPath(1, 'key')
  mkdirSync(join(path, '..'))
  const other = cache.rootfsPath(1, 'other')
  await cache.writeSealed(other, [Buffer.from('payload')])
  symlinkSync(other, path)
  t.equal(await cache.readSealed(path), undefined)
  t.notOk(existsSync(path))
  execFileSync('mkfifo', [path])
  t.equal(await cache.readSealed(path), undefined)
  t.notOk(existsSync(path))
  t.ok(await cache.readSealed(other), 'what the link led to is untouched')
})
