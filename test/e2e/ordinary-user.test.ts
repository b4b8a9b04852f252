// Containers of a user without any rights: root starts the command as one, with a /dev/fuse that everybody may open.

import { chmodSync, chownSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { becomes, leavesNothing } from '../helpers/cli-checks.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { missingTool } from '../helpers/list-tar.js'
import { COMMAND, corpora } from '../helpers/run-cli.js'
import { run, rootSkipReason } from '../helpers/with-mount.js'

const USER = 64_242
const AS_USER = ['setpriv', '--reuid', `${USER}`, '--regid', `${USER}`, '--clear-groups']
const images = join(corpora() ?? '', 'images')

async function whyNot(): Promise<string | false> {
  if (corpora() === undefined) return 'no real images here'
  const missing = rootSkipReason() || missingTool('runc', '--version')
  if (missing !== false) return missing
  const { status } = await run([...AS_USER, 'unshare', '-Urm', ...COMMAND, '--version'])
  return status === 0 ? false : 'users may have no user namespaces here, or not see this checkout'
}

t.test(
  'an ordinary user runs containers of images in every form',
  { skip: await whyNot() },
  async (t) => {
    const fixture = cliFixture(t)
    const home = fixture.mountpoint('home')
    for (const path of [fixture.dir, home]) chmodSync(path, 0o755)
    const env = {
      HOME: home,
      OCIMOUNT_CACHE_DIR: join(home, 'cache'),
      OCIMOUNT_RUNTIME_DIR: join(home, 'run'),
      OCIMOUNT_DATA_DIR: join(home, 'data'),
    }
    mkdirSync(env.OCIMOUNT_RUNTIME_DIR, { mode: 0o700 })
    for (const path of [home, env.OCIMOUNT_RUNTIME_DIR]) chownSync(path, USER, USER)
    const device = join(fixture.dir, 'fuse')
    await run(['mknod', '-m', '666', device, 'c', '10', '229'])
    const ocimount = async (...args: string[]): ReturnType<typeof run> => {
      const settings = Object.entries(env).map((entry) => entry.join('='))
      const open = 'mount --bind "$0" /dev/fuse && exec "$@"'
      const command = ['env', ...settings, ...AS_USER, ...COMMAND, ...args]
      return run(['unshare', '-m', 'sh', '-c', open, device, ...command])
    }
    const script = 'id -u; touch /new && echo written; exit 7'
    for (const image of ['busybox-1.38-glibc', 'docker-archive-alpine-3.10.tar.gz']) {
      const path = join(images, image)
      const result = await ocimount(
        'run',
        '-q',
        '--runtime',
        'runc',
        path,
        '--',
        'sh',
        '-c',
        script,
      )
      t.match(result, { status: 7, stdout: '0\nwritten\n', stderr: '' }, image)
    }
    const hello = await ocimount('run', '--runtime', 'runc', join(images, 'hello-world'))
    t.match(hello, { status: 0, stdout: /Hello from Docker!/ })
    const containers = join(env.OCIMOUNT_DATA_DIR, 'containers')
    t.ok(await becomes(() => readdirSync(containers).length === 0), 'no bundle is left')
    // Where the runtime has its own state, which is to be empty.
    rmdirSync(join(env.OCIMOUNT_RUNTIME_DIR, 'runtime'))
    const asUser: CliFixture['ocimount'] = async (args) => {
      const { status, ...said } = await ocimount(...args)
      return { ...said, status: Number(status) }
    }
    await leavesNothing(t, { ...fixture, env, ocimount: asUser })
  },
)
