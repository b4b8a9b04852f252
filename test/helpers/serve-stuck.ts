// serve-stuck.js MOUNTPOINT: mounts with fuse-native, prints `asked` when the kernel first asks for an inode, and never answers.

import { writeSync } from 'node:fs'
import { mountRootfs } from '../../src/mount/mount.js'
import { directory } from './erofs-tree.js'
import { targetOf } from './with-mount.js'

const [, , mountpoint = ''] = process.argv
const target = targetOf(directory({}))
Object.defineProperty(target.image, 'inode', {
  value: () => {
    writeSync(1, 'asked\n')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  },
})
await mountRootfs(target, mountpoint, { driver: 'fuse-native' })
