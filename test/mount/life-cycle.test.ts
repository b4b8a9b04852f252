// How a mount ends: by us, by somebody else, lazily, in another mount namespace. `finished` tells each time, since
// a test that it does not simply never ends.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { mountAt, readMountinfo } from '../../src/mount/mountinfo.js'
import { mountRootfs } from '../../src/mount/mount.js'
import { unmountPath } from '../../src/mount/unmount.js'
import { contiguous, directory, file } from '../helpers/erofs-tree.js'
import { eachDriver } from '../helpers/mount-drivers.js'
import { run, scratchDirectory, serve, targetOf } from '../helpers/with-mount.js'

function smallTarget(): ReturnType<typeof targetOf> {
  const root = directory({ file: contiguous(0, 5), other: contiguous(512, 5), dir: directory({}) })
  return targetOf(root, [Buffer.alloc(1024, 'a')])
}

/** Keeps a file of the mount open, as descriptor 3 of a process, until it is told to end. */
async function holdOpen(path: string): Promise<{ pid: number; release(): Promise<void> }> {
  const script = 'exec 3< "$0"; echo ready; read -r line'
  const holder = spawn('sh', ['-c', script, path], { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(holder.stdout, 'data')
  return {
    pid: holder.pid!,
    release: async () => {
      holder.stdin.end('\n')
      await once(holder, 'close')
    },
  }
}

/** The number of the one FUSE connection that this process serves, through one descriptor or several. */
async function ownConnection(): Promise<string> {
  const script = 'cat /proc/"$0"/fdinfo/* | sed -n "s/^fuse_connection:[[:space:]]*//p" | sort -u'
  return (await run(['sh', '-c', script, `${process.pid}`])).stdout.trim()
}

async function isMounted(path: string): Promise<boolean> {
  return mountAt(await readMountinfo(), path) !== undefined
}

eachDriver(t, 'unmount() ends the mount', async (t, driver) => {
  const mount = await serve(t, smallTarget(), { driver })
  await mount.unmount()
  await mount.finished
  t.notOk(await isMounted(mount.mountpoint))
  await t.rejects(mount.unmount(), { code: 'NOT_MOUNTED' })
})

eachDriver(t, 'finished resolves when somebody else unmounts', async (t, driver) => {
  const mount = await serve(t, smallTarget(), { driver })
  t.match(await run(['umount', mount.mountpoint]), { status: 0 })
  await mount.finished
})

eachDriver(
  t,
  'unmount() of a mount in use is MOUNT_BUSY; lazily it goes on for those inside',
  async (t, driver) => {
    const mount = await serve(t, smallTarget(), { driver })
    const holder = await holdOpen(`${mount.mountpoint}/file`)
    await t.rejects(mount.unmount(), { code: 'MOUNT_BUSY', message: /in use/ })
    t.ok(await isMounted(mount.mountpoint))
    await mount.unmount({ lazy: true })
    t.notOk(await isMounted(mount.mountpoint))
    let isFinished = false
    void mount.finished.then(() => (isFinished = true))
    t.match(await run(['cat', `/proc/${holder.pid}/fd/3`]), { stdout: 'aaaaa' })
    t.notOk(isFinished, 'somebody still has a file open')
    await holder.release()
    await mount.finished
  },
)

eachDriver(t, 'finished waits for a copy in another mount namespace', async (t, driver) => {
  const mount = await serve(t, smallTarget(), { driver })
  const script = 'echo ready; read -r line; cat "$0"'
  const other = spawn(
    'unshare',
    ['-m', '--propagation', 'private', 'sh', '-c', script, `${mount.mountpoint}/other`],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )
  let said = ''
  other.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
  await once(other.stdout, 'data')
  await mount.unmount()
  t.notOk(await isMounted(mount.mountpoint))
  other.stdin.end('\n')
  await once(other, 'close')
  t.equal(said, 'ready\naaaaa')
  await mount.finished
})

eachDriver(t, 'finished resolves when the connection is aborted', async (t, driver) => {
  const control = scratchDirectory(t)
  const mount = await serve(t, smallTarget(), { driver })
  t.match(await run(['mount', '-t', 'fusectl', 'fusectl', control]), { status: 0 })
  const connection = await ownConnection()
  t.match(await run(['sh', '-c', 'echo 1 > "$0"', `${control}/${connection}/abort`]), { status: 0 })
  await mount.finished
  t.ok(await isMounted(mount.mountpoint), 'what is left is a dead mount')
  await unmountPath(mount.mountpoint)
})

eachDriver(t, 'a process whose mount has ended ends by itself', async (t, driver) => {
  const path = scratchDirectory(t)
  const server = new URL('../helpers/serve-and-wait.js', import.meta.url).pathname
  const child = execFile(process.execPath, [server, path, '-', '-', driver])
  await once(child.stdout!, 'data')
  const exit = once(child, 'exit')
  await unmountPath(path)
  t.strictSame(await exit, [0, null])
})

eachDriver(t, 'mounts of one process do not disturb each other', async (t, driver) => {
  const mounts = await Promise.all([1, 2, 3].map(async () => serve(t, smallTarget(), { driver })))
  t.equal(new Set(mounts.map(({ device }) => device)).size, 3)
  await mounts[1]!.unmount()
  await mounts[1]!.finished
  for (const mount of [mounts[0]!, mounts[2]!]) {
    t.match(await run(['cat', `${mount.mountpoint}/file`]), { stdout: 'aaaaa' })
  }
})

eachDriver(t, 'mount points with awkward names work', async (t, driver) => {
  for (const name of [
    'a b,c',
    'line\nfeed',
    'größe 漢字',
    '$(touch x)`"\'',
    '-o',
    'back\\slash\\040',
  ]) {
    const mount = await serve(t, smallTarget(), { driver, name })
    t.ok(mount.mountpoint.endsWith(`/${name}`))
    t.match(await run(['cat', `${mount.mountpoint}/file`]), { stdout: 'aaaaa' })
    await unmountPath(mount.mountpoint)
    await mount.finished
  }
})

eachDriver(t, 'a mount that cannot be started leaves nothing behind', async (t, driver) => {
  const path = scratchDirectory(t)
  const target = targetOf(directory({ file: file(0) }))
  await t.rejects(mountRootfs({ ...target, devices: smallTarget().devices }, path, { driver }), {
    code: 'INTERNAL',
  })
  t.notOk(await isMounted(path))
})
