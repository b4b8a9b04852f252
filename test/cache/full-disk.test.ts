import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { DataFileWriter } from '../../src/cache/data-file-writer.js'
import { storageError } from '../../src/cache/storage-error.js'
import { OcimountError } from '../../src/errors.js'
import { digestOf } from '../../src/image/digest.js'
import { cannotMountTmpfs, withTmpfs } from './disks.js'
import { fillLayer } from './layers.js'

t.test('storageError() says what, where and why', (t) => {
  const cases = [
    { code: 'ENOSPC', want: ['STORAGE_FULL', 'no space left on the device'] },
    { code: 'EDQUOT', want: ['STORAGE_FULL', 'the disk quota is used up'] },
    { code: 'EROFS', want: ['STORAGE_FAILED', 'the filesystem is read-only'] },
    { code: 'EACCES', want: ['STORAGE_FAILED', 'permission denied'] },
    { code: 'ESTALE', want: ['STORAGE_FAILED', 'ESTALE: stale file handle'] },
  ] as const
  for (const { code, want } of cases) {
    const system = Object.assign(new Error(`${code}: stale file handle, open '/a/\u001b'`), {
      code,
    })
    const error = storageError(system, 'write', '/a/\u001b')
    t.strictSame([error.code, error.message], [want[0], `Cannot write /a/\\x1b: ${want[1]}`])
    t.strictSame(error.details, { path: '/a/\u001b', errno: code })
    t.equal(error.cause, system)
  }
  const ours = new OcimountError('CACHE_LOCKED', 'Cannot lock a: no')
  t.equal(storageError(ours, 'write', '/a'), ours)
  t.equal(storageError('what', 'write', '/a').message, 'Cannot write /a: what')
  t.end()
})

t.test('a full disk is STORAGE_FULL and leaves a right cache', { skip: cannotMountTmpfs() }, (t) =>
  withTmpfs(t, 'size=4m', async (dir) => {
    const cache = await Cache.open({ dir })
    const small = fillLayer(1, 1000)
    await cache.writeSealed(cache.rootfsPath(1, 'small'), [small])
    const big = fillLayer(2, 8_000_000)

    await t.test('DataFileWriter', async (t) => {
      const staging = await cache.stage()
      const writer = await DataFileWriter.create(staging.path)
      for (let offset = 0; offset < big.length; offset += 500_000) {
        // A failure may show in any call after it; finish() tells in any case.
        await writer.write(big.subarray(offset, offset + 500_000))?.catch(() => undefined)
        await new Promise(setImmediate)
      }
      await t.rejects(writer.finish(), {
        code: 'STORAGE_FULL',
        message: `Cannot write ${staging.path}/data: no space left on the device`,
      })
      await staging.remove()
    })
    await t.test('writeSealed()', async (t) => {
      await t.rejects(cache.writeSealed(cache.rootfsPath(1, 'small'), [big]), {
        code: 'STORAGE_FULL',
      })
      t.ok(
        (await cache.readSealed(cache.rootfsPath(1, 'small')))?.equals(small),
        'the old one stays',
      )
    })
    await t.test('putBlob()', async (t) => {
      const digest = digestOf(big)
      await t.rejects(cache.putBlob(digest, [big], { size: big.length }), { code: 'STORAGE_FULL' })
      t.equal(await cache.hasBlob(digest), false)
    })
    t.strictSame(readdirSync(cache.tmpPath), [], 'nothing is left')
    t.strictSame((await cache.verify({ keep: true })).bad, [])
    const { bavail, blocks } = statfsSync(cache.root)
    t.ok(bavail > blocks / 2, 'the space is free again')
  }),
)

t.test('a disk without inodes is STORAGE_FULL', { skip: cannotMountTmpfs() }, (t) =>
  withTmpfs(t, 'nr_inodes=20', async (dir) => {
    const cache = await Cache.open({ dir })
    const fill = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) await cache.writeSealed(cache.rootfsPath(1, `k${i}`), [])
    }
    await t.rejects(fill(), { code: 'STORAGE_FULL' })
    t.strictSame((await cache.verify({ keep: true })).bad, [])
  }),
)

t.test('a cache on a read-only filesystem can be read', { skip: cannotMountTmpfs() }, (t) =>
  withTmpfs(t, 'size=4m', async (dir) => {
    const cache = await Cache.open({ dir })
    await cache.writeSealed(cache.rootfsPath(1, 'k'), [Buffer.from('payload')])
    execFileSync('mount', ['-o', 'remount,ro', join(dir, '..')])
    const again = await Cache.open({ dir })
    t.equal((await again.readSealed(again.rootfsPath(1, 'k')))?.toString(), 'payload')
    await again.touch([again.rootfsPath(1, 'k')])
    await t.rejects(again.writeSealed(again.rootfsPath(1, 'k'), []), {
      code: 'STORAGE_FAILED',
      message: /: the filesystem is read-only$/,
    })
    await t.rejects(
      again.withLock('a', () => Promise.resolve()),
      { code: 'STORAGE_FAILED' },
    )
  }),
)

const isRoot = process.getuid?.() === 0
t.test(
  'a directory without write permission is STORAGE_FAILED',
  { skip: isRoot ? 'root may write anywhere' : false },
  async (t) => {
    const dir = join(t.testdir(), 'cache')
    const cache = await Cache.open({ dir })
    chmodSync(cache.tmpPath, 0o500)
    t.teardown(() => {
      chmodSync(cache.tmpPath, 0o700)
    })
    await t.rejects(cache.writeSealed(cache.rootfsPath(1, 'k'), []), {
      code: 'STORAGE_FAILED',
      message: /: permission denied$/,
    })
    t.notOk(existsSync(cache.rootfsPath(1, 'k')))
  },
)
