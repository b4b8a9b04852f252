// What somebody else mounts where an image is or was is theirs: no way of unmounting ours may take it away.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { mountAt, readMountinfo } from '../../src/mount/mountinfo.js'
import { file, layer } from '../helpers/build-layer.js'
import { buildImage } from '../helpers/build-image.js'
import { cliFixture } from '../helpers/cli-fixture.js'
import { contiguous, directory } from '../helpers/erofs-tree.js'
import { MAIN } from '../helpers/run-cli.js'
import { rootSkipReason, run, serve, targetOf } from '../helpers/with-mount.js'
import { writeImage } from '../helpers/write-image.js'

const skip = rootSkipReason()

async function fsTypeAt(path: string): Promise<string | undefined> {
  return mountAt(await readMountinfo(), path)?.fsType
}

t.test('a server that ends leaves alone what was mounted in its place', { skip }, async (t) => {
  const place = cliFixture(t)
  const image = join(place.dir, 'image.tar')
  writeImage(image, [buildImage({ layers: [layer(file('a', 'a')).tar] })], {
    form: 'docker-24',
  })
  const mountpoint = place.mountpoint()
  const server = spawn(process.execPath, [MAIN, '-f', image, mountpoint], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...place.env },
  })
  await once(server.stderr, 'data')
  const ended = once(server, 'exit')
  t.match(await run(['umount', mountpoint]), { status: 0 })
  t.match(await run(['mount', '-t', 'tmpfs', 'theirs', mountpoint]), { status: 0 })
  t.strictSame(await ended, [0, null])
  t.equal(await fsTypeAt(mountpoint), 'tmpfs')
  t.match(await run(['umount', mountpoint]), { status: 0 })
  t.ok(existsSync(mountpoint))
})

t.test('unmount() refuses while something else covers the mount', { skip }, async (t) => {
  const root = directory({ file: contiguous(0, 5) })
  const mount = await serve(t, targetOf(root, [Buffer.alloc(512, 'a')]))
  t.match(await run(['mount', '-t', 'tmpfs', 'theirs', mount.mountpoint]), { status: 0 })
  await t.rejects(mount.unmount(), { code: 'MOUNT_BUSY', message: /on top of it/ })
  await t.rejects(mount.unmount({ lazy: true }), { code: 'MOUNT_BUSY' })
  t.equal(await fsTypeAt(mount.mountpoint), 'tmpfs')
  t.match(await run(['umount', mount.mountpoint]), { status: 0 })
  await mount.unmount()
  await mount.finished
})

t.test('unmount() of what is gone leaves alone what is there now', { skip }, async (t) => {
  const mount = await serve(t, targetOf(directory({})))
  t.match(await run(['umount', mount.mountpoint]), { status: 0 })
  await mount.finished
  t.match(await run(['mount', '-t', 'tmpfs', 'theirs', mount.mountpoint]), { status: 0 })
  await t.rejects(mount.unmount({ lazy: true }), { code: 'NOT_MOUNTED' })
  t.equal(await fsTypeAt(mount.mountpoint), 'tmpfs')
  t.match(await run(['umount', mount.mountpoint]), { status: 0 })
})
