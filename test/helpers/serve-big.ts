// serve-big.js MOUNTPOINT DRIVER [unrecorded]: serves files of 64 MiB and state for them until it is killed. Prints `starting`
// and `ready`. Every byte of the files is `a`. With `unrecorded` the state stays that of a start.

import type { DriverName } from '../../src/mount/driver.js'
import { mountRootfs } from '../../src/mount/mount.js'
import { MountState } from '../../src/mount/state.js'
import { contiguous, directory } from './erofs-tree.js'
import { targetOf } from './with-mount.js'

const [, , mountpoint = '', driver = 'auto', record] = process.argv
const content = Buffer.alloc(64 << 20, 'a')
const names = ['big', ...Array.from({ length: 8 }, (_, index) => `file-${index}`)]
const files = names.map((name) => [name, contiguous(0, content.length)] as const)
const target = targetOf(directory(Object.fromEntries(files)), [content])
const image = { reference: 'test.tar' }
const state = await MountState.create({
  mountpoint,
  image,
  options: {},
  isWritable: false,
  direct: false,
})
process.stdout.write('starting\n')
const mount = await mountRootfs(target, mountpoint, {
  driver: driver as DriverName,
  workDirectory: state.directory,
})
if (record !== 'unrecorded')
  await state.update({ state: 'ready', driver: mount.driver, device: mount.device })
process.stdout.write('ready\n')
await mount.finished
await state.remove()
