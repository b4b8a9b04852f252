// A serving process that is killed leaves a dead mount and its state; listing cleans both up.

import { execFile, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { requestStatus, requestUnmount } from '../../src/mount/control.js'
import { findMount, listMounts } from '../../src/mount/list-mounts.js'
import { mountAt, readMountinfo } from '../../src/mount/mountinfo.js'
import { eachDriver, type DriverCase } from '../helpers/mount-drivers.js'
import { run, scratchDirectory } from '../helpers/with-mount.js'

const SERVER = fileURLToPath(new URL('../helpers/serve-and-wait.js', import.meta.url))

interface Started {
  readonly child: ChildProcess
  readonly mountpoint: string
  readonly runtimeDir: string
  readonly id: string
}

async function start(
  t: Test,
  driver: DriverCase['name'],
  writable: 'writable' | '-',
): Promise<Started> {
  const path = scratchDirectory(t)
  const runtimeDir = join(path, 'state')
  const mountpoint = join(path, 'mnt')
  mkdirSync(mountpoint)
  process.env['OCIMOUNT_RUNTIME_DIR'] = runtimeDir
  const child = execFile(process.execPath, [SERVER, mountpoint, 'state', writable, driver])
  t.teardown(() => child.kill('SIGKILL'))
  child.stderr?.pipe(process.stderr)
  const [line] = (await once(child.stdout!, 'data')) as [string]
  return { child, mountpoint, runtimeDir, id: line.trim().split(' ')[1] ?? '' }
}

for (const writable of ['-', 'writable'] as const) {
  eachDriver(
    t,
    `listMounts() cleans up after a killed server (${writable})`,
    async (t, driver, known) => {
      const { child, mountpoint, runtimeDir, id } = await start(t, driver, writable)
      t.match(await listMounts(), [{ record: { id, mountpoint, state: 'ready', pid: child.pid } }])
      t.match(await findMount(`${mountpoint}/../mnt`), { record: { id } })
      child.kill('SIGKILL')
      await once(child, 'exit')
      t.match(mountAt(await readMountinfo(), mountpoint), {
        fsType: writable === 'writable' ? 'overlay' : known.fsType,
      })
      t.strictSame(await listMounts(), [])
      t.equal(mountAt(await readMountinfo(), mountpoint), undefined)
      t.strictSame(readdirSync(runtimeDir), [])
    },
  )
}

eachDriver(t, 'listMounts() spares what was mounted at the place since', async (t, driver) => {
  const { child, mountpoint, runtimeDir } = await start(t, driver, '-')
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.match(await run(['umount', '-l', mountpoint]), { status: 0 })
  t.match(await run(['mount', '-t', 'tmpfs', 'other', mountpoint]), { status: 0 })
  t.strictSame(await listMounts(), [])
  t.match(mountAt(await readMountinfo(), mountpoint), { source: 'other' })
  t.strictSame(readdirSync(runtimeDir), [])
})

eachDriver(t, 'a server answers status and unmount, and leaves no state', async (t, driver) => {
  const { child, mountpoint, runtimeDir } = await start(t, driver, 'writable')
  const found = await findMount(mountpoint)
  t.match(await requestStatus(found!.directory), { record: { mountpoint }, pid: child.pid })
  const ended = once(child, 'exit')
  await requestUnmount(found!.directory)
  t.equal(mountAt(await readMountinfo(), mountpoint), undefined)
  t.strictSame(await ended, [0, null])
  t.strictSame(readdirSync(runtimeDir), [])
})
