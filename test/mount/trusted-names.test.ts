// Names of trusted.* attributes are for those who hold CAP_SYS_ADMIN, as on the kernel's own filesystems; and an overlay that
// copies a file up for somebody else still sees them.

import { join } from 'node:path'
import t from 'tap'
import { buildImage } from '../helpers/build-image.js'
import * as tar from '../helpers/build-tar.js'
import { cliFixture } from '../helpers/cli-fixture.js'
import { contiguous, directory, xattrs } from '../helpers/erofs-tree.js'
import { eachDriver } from '../helpers/mount-drivers.js'
import { COMMAND } from '../helpers/run-cli.js'
import { python, run, scratchDirectory, serve, targetOf } from '../helpers/with-mount.js'
import { writeImage } from '../helpers/write-image.js'

const LIST = 'import json, os, sys; print(json.dumps(sorted(os.listxattr(sys.argv[1]))))'
const SIZE = `import ctypes, json, sys
print(json.dumps(ctypes.CDLL(None).listxattr(sys.argv[1].encode(), None, 0)))`
// The machine's own: another one may lie where ordinary users cannot go.
const PYTHON = ['env', 'PATH=/usr/bin:/bin', 'python3', '-c']
const WEAK_ROOT = ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin']
const EVERYTHING = ['trusted.b', 'trusted.c', 'user.a']
const CALLERS: Readonly<Record<string, { command: readonly string[]; sees: readonly string[] }>> = {
  root: { command: [], sees: EVERYTHING },
  'an ordinary user': {
    command: ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'],
    sees: ['user.a'],
  },
  'root without the capability': { command: WEAK_ROOT, sees: ['user.a'] },
  'root of a user namespace': { command: ['unshare', '-Ur'], sees: ['user.a'] },
}

function target(): ReturnType<typeof targetOf> {
  const file = contiguous(0, 5, {
    xattrs: xattrs({ 'trusted.b': '1', 'user.a': '2', 'trusted.c': '3' }),
  })
  return targetOf(directory({ file, bare: contiguous(0, 5) }), [Buffer.alloc(512, 'a')])
}

const unfit = { 'fuse-native': 'libfuse does not tell who asks' }

eachDriver(
  t,
  'names of trusted attributes are hidden as the kernel does it',
  async (t, driver) => {
    const { mountpoint } = await serve(t, target(), { driver })
    await run(['chmod', '755', join(mountpoint, '..')])
    for (const [who, { command, sees }] of Object.entries(CALLERS)) {
      const ask = async (script: string, name: string): Promise<unknown> => {
        const asked = await run([...command, ...PYTHON, script, join(mountpoint, name)])
        t.equal(asked.status, 0, asked.stderr)
        return JSON.parse(asked.stdout)
      }
      t.strictSame(await ask(LIST, 'file'), sees, who)
      t.equal(await ask(SIZE, 'file'), Buffer.byteLength(sees.join('\0')) + 1, `${who}, the size`)
      t.strictSame(await ask(LIST, 'bare'), [], who)
    }
  },
  unfit,
)

eachDriver(t, 'an overlay keeps trusted attributes, whoever has it copy up', async (t, driver) => {
  const kept = join(scratchDirectory(t), 'kept')
  const { mountpoint } = await serve(t, target(), { driver, writable: kept })
  t.match(await run([...WEAK_ROOT, 'chmod', '600', join(mountpoint, 'file')]), { status: 0 })
  const copied = (await python(LIST, join(kept, 'upper/file'))) as string[]
  t.strictSame(
    copied.filter((name) => !name.startsWith('trusted.overlay.')),
    EVERYTHING,
  )
})

eachDriver(
  t,
  'an overlay in a user namespace copies up a file with trusted attributes',
  async (t, driver) => {
    const fixture = cliFixture(t)
    const attributes = { 'trusted.b': '1', 'user.a': '2' }
    const layer = tar.buildTar([tar.file('file', 'hello', { xattrs: attributes })])
    const image = buildImage({ tags: ['test'], layers: [layer] })
    const path = writeImage(join(fixture.dir, 'app.tar'), [image], { form: 'docker-25' })
    const mountpoint = fixture.mountpoint()
    const script = `at=$1; shift
"$@" --driver=${driver} --writable -q ${path} "$at"
chmod 600 "$at/file"; cat "$at/file"; stat -c ' %a' "$at/file"
"$@" umount "$at"`
    const inside = ['unshare', '-Urm', '--propagation', 'private', 'sh', '-ec', script, 'sh']
    const env = Object.entries(fixture.env).map(([key, value]) => `${key}=${value}`)
    const outcome = await run(['env', ...env, ...inside, mountpoint, ...COMMAND])
    t.strictSame(outcome, { status: 0, stdout: 'hello 600\n', stderr: '' })
  },
  { kernel: 'it needs root of the machine' },
)
