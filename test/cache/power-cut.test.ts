// A power cut, as an ext4 filesystem on a loop device shows it: the process is killed before a file operation and
// the backing file is copied at once. What the filesystem had not written by then is not in the copy.
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { seededRandom } from '../helpers/random.js'
import { startChild } from './processes.js'

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return 'needs root to mount a filesystem image'
  if (spawnSync('mkfs.ext4', ['-V']).error !== undefined) return 'mkfs.ext4 is not installed'
  return spawnSync('losetup', ['-f']).status === 0 ? false : 'there are no loop devices here'
}

function makeDisk(path: string): void {
  writeFileSync(path, '')
  truncateSync(path, 32 * 1024 * 1024)
  execFileSync('mkfs.ext4', ['-q', '-F', path])
}

async function withDisk<T>(image: string, mountpoint: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(mountpoint)
  // Nothing orders data before metadata but our own fsync.
  execFileSync('mount', ['-o', 'loop,data=writeback,noauto_da_alloc', image, mountpoint])
  try {
    return await work()
  } finally {
    execFileSync('umount', ['-l', mountpoint])
  }
}

t.test('cache holds only right bytes after a power cut', { skip: whyNot() }, async (t) => {
  const dir = t.testdir()
  makeDisk(join(dir, 'empty.img'))
  const counting = startChild(t, 'write-one', join(dir, 'counted'), '0')
  t.equal(await counting.ended, 0)
  const operations = Number(/^done (\d+)$/.exec(counting.lines[1] ?? '')?.[1])
  const random = seededRandom(t, Date.now() % 1_000_000)
  for (let round = 0; round < 10; round++) {
    const stop = round === 0 ? operations + 1 : 1 + random.below(operations)
    await t.test(`before operation ${stop} of ${operations}`, async (t) => {
      const disk = join(dir, `${round}`)
      copyFileSync(join(dir, 'empty.img'), `${disk}.img`)
      await withDisk(`${disk}.img`, disk, async () => {
        const child = startChild(t, 'write-one', join(disk, 'cache'), String(stop))
        t.equal(await child.ended, stop > operations ? 0 : 'SIGKILL')
        copyFileSync(`${disk}.img`, `${disk}-after.img`)
      })
      await withDisk(`${disk}-after.img`, `${disk}-after`, async () => {
        const cache = await Cache.open({ dir: join(`${disk}-after`, 'cache') })
        const { checked, bad } = await cache.verify({ keep: true })
        t.strictSame(bad, [])
        if (stop > operations) t.equal(checked, 3, 'what was finished is there')
      })
    })
  }
})
