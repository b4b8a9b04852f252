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
import { rootSkipReason, run, scratchDirectory } from '../helpers/with-mount.js'

const skip = rootSkipReason()
const SERVER = fileURLToPath(new URL('../helpers/serve-and-wait.js', import.meta.url))

interface Started {
  readonly child: ChildProcess
  readonly mountpoint: string
  readonly runtimeDir: string
  readonly id: string
}

async function start(t: Test, writable: 'writable' | 'read-only'): Promise<Started> {
  const path = scratchDirectory(t)
  const runtimeDir = join(path, 'state')
  const mountpoint = join(path, 'mnt')
  mkdirSync(mountpoint)
  process.env['OCIMOUNT_RUNTIME_DIR'] = runtimeDir
  const child = execFile(process.execPath, [SERVER, mountpoint, 'state', writable])
  t.teardown(() => child.kill('SIGKILL'))
  child.stderr?.pipe(process.stderr)
  const [line] = (await once(child.stdout!, 'data')) as [string]
  return { child, mountpoint, runtimeDir, id: line.trim().split(' ')[1] ?? '' }
}

for (const writable of ['read-only', 'writable'] as const) {
  t.test(`listMounts() cleans up after a killed server (${writable})`, { skip }, async (t) => {
    const { child, mountpoint, runtimeDir, id } = await start(t, writable)
    t.match(await listMounts(), [{ record: { id, mountpoint, state: 'ready', pid: child.pid } }])
    t.match(await findMount(`${mountpoint}/../mnt`), { record: { id } })
    child.kill('SIGKILL')
    await once(child, 'exit')
    t.match(mountAt(await readMountinfo(), mountpoint), {
      fsType: writable === 'writable' ? 'overlay' : 'fuse.ocimount',
    })
    t.strictSame(await listMounts(), [])
    t.equal(mountAt(await readMountinfo(), mountpoint), undefined)
    t.strictSame(readdirSync(runtimeDir), [])
  })
}

t.test('listMounts() spares what was mounted at the place since', { skip }, async (t) => {
  const { child, mountpoint, runtimeDir } = await start(t, 'read-only')
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.match(await run(['umount', '-l', mountpoint]), { status: 0 })
  t.match(await run(['mount', '-t', 'tmpfs', 'other', mountpoint]), { status: 0 })
  t.strictSame(await listMounts(), [])
  t.match(mountAt(await readMountinfo(), mountpoint), { source: 'other' })
  t.strictSame(readdirSync(runtimeDir), [])
})

t.test('a server answers status and unmount, and leaves no state', { skip }, async (t) => {
  const { child, mountpoint, runtimeDir } = await start(t, 'writable')
  const found = await findMount(mountpoint)
  t.match(await requestStatus(found!.directory), { record: { mountpoint }, pid: child.pid })
  const ended = once(child, 'exit')
  await requestUnmount(found!.directory)
  t.equal(mountAt(await readMountinfo(), mountpoint), undefined)
  t.strictSame(await ended, [0, null])
  t.strictSame(readdirSync(runtimeDir), [])
})
