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
  'root of many groups': {
    command: ['setpriv', '--groups', Array.from({ length: 2000 }, (_, id) => id + 1).join(',')],
    sees: EVERYTHING,
  },
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

/** Calls listxattr(2) as a 32-bit program does, by the number that x86 has for it there. */
const LIST_32 = `import ctypes, json, mmap, os, struct, sys
MAP_32BIT = 0x40
page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_32BIT, prot=7)
at = ctypes.addressof(ctypes.c_char.from_buffer(page))
name = os.fsencode(sys.argv[1]) + bytes(1)
page[1024:1024 + len(name)] = name
# push rbx; mov eax, 232; mov ebx, name; mov ecx, list; mov edx, 1024; int 0x80; pop rbx; ret
code = struct.pack('<cBIBIBIBI4s', b'\\x53', 0xb8, 232, 0xbb, at + 1024, 0xb9, at + 3072, 0xba, 1024, b'\\xcd\\x80\\x5b\\xc3')
page[:len(code)] = code
length = ctypes.CFUNCTYPE(ctypes.c_int)(at)()
print(json.dumps(sorted(page[3072:3072 + length].decode().split(chr(0))[:-1])))`

/** Lists names again and again while signals wake the thread that waits for them, and tells of all that it ever saw. */
const LIST_AWAKE = `import json, os, signal, sys
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 15e-6, 15e-6)
seen = {name for _ in range(2000) for name in os.listxattr(sys.argv[1])}
signal.setitimer(signal.ITIMER_REAL, 0)
print(json.dumps(sorted(seen)))`

const NO_X86 = 'it runs code of x86'
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
      t.strictSame(await ask(LIST_AWAKE, 'file'), sees, `${who}, between signals`)
    }
  },
  unfit,
)

eachDriver(
  t,
  'names of trusted attributes are hidden from 32-bit programs too',
  async (t, driver) => {
    const { mountpoint } = await serve(t, target(), { driver })
    await run(['chmod', '755', join(mountpoint, '..')])
    for (const [who, { command, sees }] of Object.entries(CALLERS)) {
      const asked = await run([...command, ...PYTHON, LIST_32, join(mountpoint, 'file')])
      if (asked.status === 'SIGSEGV') {
        t.comment('the kernel runs no 32-bit programs')
        return
      }
      t.equal(asked.status, 0, asked.stderr)
      t.strictSame(JSON.parse(asked.stdout), sees, who)
    }
  },
  process.arch === 'x64' ? unfit : { kernel: NO_X86, fuse: NO_X86, 'fuse-native': NO_X86 },
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
