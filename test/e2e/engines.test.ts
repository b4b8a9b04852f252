// What other programs do with a mount or a bundle of ours: podman over a mounted image, a unit of systemd, a runtime that unmounts
// by a hook.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { becomes, leavesNothing } from '../helpers/cli-checks.js'
import { cliFixture } from '../helpers/cli-fixture.js'
import { missingTool } from '../helpers/list-tar.js'
import { corpora } from '../helpers/run-cli.js'
import { RUNTIME_CASES, runsElsewhere } from '../helpers/runtimes.js'
import { run, rootSkipReason } from '../helpers/with-mount.js'

// Nothing below is of use to who has the file run elsewhere.
if (await runsElsewhere(t, import.meta.url)) process.exit()

const images = corpora()
const skip = rootSkipReason() || (images === undefined && 'no real images here')
const busybox = join(images ?? '', 'images/busybox-1.38-glibc')

t.test(
  'podman runs a mounted image by --rootfs',
  { skip: skip || missingTool('podman', '--version') },
  async (t) => {
    const fixture = cliFixture(t)
    const mountpoint = fixture.mountpoint()
    t.match(await fixture.ocimount(['-q', '--writable', busybox, mountpoint]), { status: 0 })
    const ran = await run([
      ...[
        'podman',
        '--root',
        join(fixture.dir, 'storage'),
        '--runroot',
        join(fixture.dir, 'state'),
      ],
      ...['--cgroup-manager', 'cgroupfs', 'run', '--rm', '--network', 'none'],
      // Limits that every machine can have; podman's own are beyond those of some.
      ...['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024', '--rootfs', mountpoint],
      ...['/bin/sh', '-c', 'id -u; touch /new && echo written'],
    ])
    t.match(ran, { status: 0, stdout: '0\nwritten\n' }, ran.stderr)
    t.ok(existsSync(join(mountpoint, 'new')))
    t.match(await fixture.ocimount(['umount', mountpoint]), { status: 0 })
    await run(['umount', join(fixture.dir, 'storage/overlay')])
    await leavesNothing(t, fixture)
  },
)

t.test(
  'the unit of the README is one that systemd understands',
  { skip: missingTool('systemd-analyze', '--version') },
  async (t) => {
    const unit = /```ini\n(\[Unit\][^`]*)```/.exec(readFileSync('README.md', 'utf8'))?.[1] ?? ''
    t.match(unit, 'Where=/mnt/app\n')
    const path = join(cliFixture(t).dir, 'mnt-app.mount')
    writeFileSync(path, unit)
    t.match(await run(['systemd-analyze', 'verify', path]), { status: 0, stdout: '', stderr: '' })
  },
)

for (const { name: runtime, skip: noRuntime } of RUNTIME_CASES) {
  t.test(
    `${runtime}: --hooks unmounts when the container has stopped`,
    { skip: skip || noRuntime },
    async (t) => {
      const fixture = cliFixture(t)
      const bundle = join(fixture.dir, 'bundle')
      const make = ['bundle', '-q', '--hooks', busybox, bundle, '--', 'touch', '/new']
      t.match(await fixture.ocimount(make), { status: 0, stderr: '' })
      t.match(await run([runtime, 'run', '-b', bundle, `hooks-${process.pid}`]), { status: 0 })
      t.ok(await becomes(() => fixture.mounts().length === 0), 'nothing is mounted')
      t.ok(existsSync(join(bundle, 'upper/new')), 'what was written is kept')
      await leavesNothing(t, fixture)
    },
  )
}
