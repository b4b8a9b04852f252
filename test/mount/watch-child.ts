// watch-child.js DIRECTORY: watches the mounts, changes them in the same turn of the event loop, and prints `told` when it is told.

import { spawnSync } from 'node:child_process'
import { watchMounts } from '../../src/mount/watch.js'

const [, , directory = ''] = process.argv
const alive = setInterval(() => undefined, 1000)
const watch = watchMounts(() => {
  watch.close()
  clearInterval(alive)
  process.stdout.write('told\n')
})
for (const command of [
  ['mount', '-t', 'tmpfs', 'none', directory],
  ['umount', directory],
]) {
  const [program = '', ...args] = command
  if (spawnSync(program, args).status !== 0) process.exit(1)
}
