// Serves a small tree at argv[2] until it is unmounted. Prints `ready`, then the id of the state it keeps if argv[3]
// says `state`; argv[4] may be `writable`, a flag such as `suid`, or `-`; argv[5] names the driver.

import type { DriverName } from '../../src/mount/driver.js'
import { mountRootfs } from '../../src/mount/mount.js'
import { serveControl } from '../../src/mount/control.js'
import { MountState } from '../../src/mount/state.js'
import { contiguous, directory } from './erofs-tree.js'
import { targetOf } from './with-mount.js'

const [, , mountpoint = '', keepState, flag = '-', driver = 'auto'] = process.argv as (
  string | undefined
)[]
const target = targetOf(directory({ file: contiguous(0, 5) }), [Buffer.alloc(512, 'a')])
const isWritable = flag === 'writable'

if (keepState === 'state') {
  const image = { reference: 'test.tar', name: 'test:latest' }
  const state = await MountState.create({
    mountpoint,
    image,
    options: {},
    isWritable,
    direct: false,
  })
  const mount = await mountRootfs(target, mountpoint, {
    driver: driver as DriverName,
    writable: isWritable,
    workDirectory: state.directory,
  })
  await state.update({ state: 'ready', driver: mount.driver, device: mount.device })
  const control = await serveControl(state.directory, {
    status: () => ({ record: state.record, pid: process.pid }),
    unmount: async (options) => {
      await mount.unmount(options)
      return { endsServer: true }
    },
  })
  process.stdout.write(`ready ${state.id}\n`)
  await mount.finished
  await control.close()
  await state.remove()
} else {
  const mount = await mountRootfs(target, mountpoint, {
    driver: driver as DriverName,
    ...(flag === '-' ? {} : { [flag]: true }),
  })
  process.stdout.write('ready\n')
  await mount.finished
}
