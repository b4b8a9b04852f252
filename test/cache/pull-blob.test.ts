import { linkSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { pullBlob } from '../../src/cache/pull-blob.js'
import { digestOf } from '../../src/image/digest.js'

const BLOB = Buffer.from('a blob')
const DIGEST = digestOf(BLOB)
const FROM_NOWHERE = {
  size: BLOB.length,
  read: (): never => {
    throw new Error('nobody should be asked')
  },
  onMismatch: () => Promise.resolve(false),
}

t.test('pullBlob() gives no blob whose file is still being put in its place', async (t) => {
  const cache = await Cache.open({ dir: join(t.testdir(), 'cache') })
  await cache.putBlob(DIGEST, [BLOB], { size: BLOB.length })
  const partial = join(cache.partialPath(DIGEST), 'owner')
  mkdirSync(cache.partialPath(DIGEST), { recursive: true })
  linkSync(cache.blobPath(DIGEST), partial)
  let isPlaced = false
  let start = (): void => undefined
  const held = new Promise<void>((resolve) => (start = resolve))
  const placing = cache.withLock(`blob-${DIGEST}`, async () => {
    start()
    await sleep(100)
    rmSync(partial)
    isPlaced = true
  })
  await held
  await pullBlob(cache, DIGEST, FROM_NOWHERE)
  t.ok(isPlaced)
  await placing
})

t.test('pullBlob() takes away what a kill while placing has left', async (t) => {
  const cache = await Cache.open({ dir: join(t.testdir(), 'cache') })
  await cache.putBlob(DIGEST, [BLOB], { size: BLOB.length })
  mkdirSync(cache.partialPath(DIGEST), { recursive: true })
  linkSync(cache.blobPath(DIGEST), join(cache.partialPath(DIGEST), 'owner'))
  await pullBlob(cache, DIGEST, FROM_NOWHERE)
  t.strictSame(readdirSync(join(cache.root, 'partial/sha256')), [])
})

t.test('pullBlob() takes away what a kill behind the placing has left', async (t) => {
  const cache = await Cache.open({ dir: join(t.testdir(), 'cache') })
  await cache.putBlob(DIGEST, [BLOB], { size: BLOB.length })
  mkdirSync(join(cache.partialPath(DIGEST), 'owner'), { recursive: true })
  await pullBlob(cache, DIGEST, FROM_NOWHERE)
  t.strictSame(readdirSync(join(cache.root, 'partial/sha256')), [])
})
