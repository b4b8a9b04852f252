import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { lockFileName } from '../../src/cache/lock.js'
import { currentOwnerTag } from '../../src/cache/process-owner.js'
import { isOcimountError } from '../../src/errors.js'
import { startChild } from './processes.js'

t.test('withLock() lets one holder in at a time within a process', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  let inside = 0
  let most = 0
  const results = await Promise.all(
    Array.from({ length: 8 }, (_, index) =>
      cache.withLock('a', async () => {
        most = Math.max(most, ++inside)
        await new Promise(setImmediate)
        inside--
        return index
      }),
    ),
  )
  t.equal(most, 1)
  t.strictSame(results, [0, 1, 2, 3, 4, 5, 6, 7])
  t.strictSame(readdirSync(cache.locksPath), [], 'nothing is left')
  t.strictSame(readdirSync(cache.tmpPath), [], 'nothing is left')
})

t.test('withLock() gives the lock back when the work throws', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  await t.rejects(
    cache.withLock('a', () => Promise.reject(new Error('no'))),
    { message: 'no' },
  )
  t.equal(await cache.withLock('a', () => Promise.resolve(1)), 1)
})

t.test('withLock() holds between processes', async (t) => {
  const dir = `${t.testdir()}/cache`
  await Cache.open({ dir })
  writeFileSync(`${dir}/number`, '0')
  const children = Array.from({ length: 4 }, () => startChild(t, 'add', dir, '25'))
  for (const child of children) t.equal(await child.ended, 0)
  t.equal(readFileSync(`${dir}/number`, 'utf8'), '100')
  t.strictSame(readdirSync(`${dir}/locks`), [])
})

t.test('withLock() gives up after the time-out and names the owner', async (t) => {
  const dir = `${t.testdir()}/cache`
  const cache = await Cache.open({ dir })
  const child = startChild(t, 'hold', dir)
  await child.nextLine()
  await t.rejects(
    cache.withLock('held', () => Promise.resolve(), { timeoutMs: 20 }),
    {
      code: 'CACHE_LOCKED',
      message: `Cannot lock held: process ${child.process.pid} has held it for 0 s`,
      details: { lock: 'held', pid: child.process.pid },
    },
  )
})

t.test('withLock() stops waiting when its signal says so', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const controller = new AbortController()
  await cache.withLock('a', async () => {
    const waiting = cache.withLock('a', () => Promise.resolve(), { signal: controller.signal })
    controller.abort(new Error('enough'))
    await t.rejects(waiting, { code: 'INTERRUPTED' })
  })
})

t.test('withLock() takes over from a killed owner, one of many at a time', async (t) => {
  const dir = `${t.testdir()}/cache`
  await Cache.open({ dir })
  const holder = startChild(t, 'hold', dir)
  await holder.nextLine()
  const stealers = Array.from({ length: 8 }, () => startChild(t, 'steal', dir))
  for (const stealer of stealers) await stealer.nextLine()
  holder.process.kill('SIGKILL')
  await holder.ended
  for (const stealer of stealers) stealer.process.stdin.write('go\n')
  for (const stealer of stealers) t.equal(await stealer.ended, 0)
  t.equal(readFileSync(`${dir}/history`, 'utf8'), '+-'.repeat(8))
  t.strictSame(readdirSync(`${dir}/locks`), [], 'neither lock nor claim is left')
})

t.test('withLock() takes over from a chain of killed owners', async (t) => {
  const dir = `${t.testdir()}/cache`
  const cache = await Cache.open({ dir })
  for (let owner = 0; owner < 3; owner++) {
    const child = startChild(t, 'hold', dir)
    await child.nextLine()
    child.process.kill('SIGKILL')
    await child.ended
  }
  t.equal(readdirSync(cache.locksPath).length, 3, 'a lock and two claims')
  t.equal(await cache.withLock('held', () => Promise.resolve(1)), 1)
  t.strictSame(readdirSync(cache.locksPath), [])
})

t.test('withLock() is released when its process exits', async (t) => {
  const dir = `${t.testdir()}/cache`
  const child = startChild(t, 'hold', dir, 'exit')
  t.equal(await child.ended, 0)
  t.strictSame(readdirSync(`${dir}/locks`), [])
  t.strictSame(readdirSync(`${dir}/tmp`), [])
})

t.test('withLock() judges what it finds', async (t) => {
  const [pid, startTime, bootId, ...namespaces] = currentOwnerTag().split('-')
  const otherBoot = '0'.repeat(32)
  const cases: { name: string; owner: string; isTaken: boolean }[] = [
    { name: 'a torn file', owner: '', isTaken: true },
    {
      name: 'an owner before the last boot',
      owner: [pid, startTime, otherBoot, ...namespaces].join('-'),
      isTaken: true,
    },
    { name: 'a reused pid', owner: [pid, '1', bootId, ...namespaces].join('-'), isTaken: true },
    {
      name: 'an owner in another pid namespace',
      owner: [pid, startTime, bootId, '1', '1'].join('-'),
      isTaken: false,
    },
    { name: 'an owner that runs', owner: currentOwnerTag(), isTaken: false },
  ]
  for (const { name, owner, isTaken } of cases) {
    const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
    const path = `${cache.locksPath}/${lockFileName('a')}`
    writeFileSync(path, owner === '' ? '' : `0123456789abcdef\n${owner}\n`)
    const taken = cache.withLock('a', () => Promise.resolve(true), { timeoutMs: 10 })
    t.equal(
      await taken.catch((error: unknown) => !isOcimountError(error, 'CACHE_LOCKED')),
      isTaken,
      name,
    )
    t.equal(existsSync(path), !isTaken)
  }
})

t.test('withLock() does not disturb the next holder when it lost the lock', async (t) => {
  const cache = await Cache.open({ dir: `${t.testdir()}/cache` })
  const path = `${cache.locksPath}/${lockFileName('a')}`
  await cache.withLock('a', () => {
    writeFileSync(path, `fedcba9876543210\n${currentOwnerTag()}\n`)
    utimesSync(path, 1, 1)
    return Promise.resolve()
  })
  t.match(readFileSync(path, 'utf8'), /^fedcba9876543210\n/)
})

t.test('lockFileName() is safe and different for different names', (t) => {
  const names = [
    'layer-sha256:ab',
    'layer-sha256-ab',
    '../../etc/passwd',
    '',
    'x'.repeat(500),
    'x'.repeat(501),
  ]
  const files = names.map(lockFileName)
  t.equal(new Set(files).size, names.length)
  for (const file of files) t.match(file, /^[A-Za-z0-9_-]{1,120}$/)
  t.end()
})
