// What a process that died left of a bundle goes, and nothing that is there in its place.

import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { inodeOf, removeUnfinished } from '../../src/mount/tear-down.js'

t.test('removeUnfinished()', async (t) => {
  const root = t.testdir()
  const [directory, fresh] = [join(root, 'bundle'), join(root, '.bundle-0')]
  mkdirSync(directory)
  const inode = await inodeOf(directory)
  rmdirSync(directory)
  t.equal(await inodeOf(directory), undefined)
  // Times of files are those of the last tick of a clock.
  await sleep(50)
  // Filesystems give a number that has become free to the next file that is made.
  mkdirSync(directory)
  writeFileSync(join(directory, 'kept'), '')
  mkdirSync(fresh)
  await removeUnfinished({ directory, fresh, inode })
  t.ok(existsSync(join(directory, 'kept')))
  t.notOk(existsSync(fresh))
  await removeUnfinished({ directory, fresh, inode: await inodeOf(directory) })
  t.notOk(existsSync(directory))
})
