import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cacheRoot } from '../../src/cache/cache-root.js'
import { Cache } from '../../src/cache/cache.js'
import { startChild } from './processes.js'

t.test('cacheRoot() follows the order of DESIGN section 5', (t) => {
  const home = '/home/me'
  const cases = [
    { asked: '/a', env: { OCIMOUNT_CACHE_DIR: '/b', XDG_CACHE_HOME: '/c' }, uid: 1, want: '/a' },
    { asked: 'a', env: {}, uid: 1, want: join(process.cwd(), 'a') },
    {
      asked: undefined,
      env: { OCIMOUNT_CACHE_DIR: '/b', XDG_CACHE_HOME: '/c' },
      uid: 1,
      want: '/b',
    },
    {
      asked: undefined,
      env: { OCIMOUNT_CACHE_DIR: '', XDG_CACHE_HOME: '/c' },
      uid: 1,
      want: '/c/ocimount',
    },
    { asked: undefined, env: { XDG_CACHE_HOME: '/c' }, uid: 0, want: '/c/ocimount' },
    {
      asked: undefined,
      env: { XDG_CACHE_HOME: 'relative' },
      uid: 1,
      want: '/home/me/.cache/ocimount',
    },
    { asked: undefined, env: {}, uid: 1, want: '/home/me/.cache/ocimount' },
    { asked: undefined, env: {}, uid: 0, want: '/var/cache/ocimount' },
  ]
  for (const { asked, env, uid, want } of cases) {
    t.equal(cacheRoot(asked, { env, uid, home }), want)
  }
  t.end()
})

t.test('cacheRoot() needs a home directory for an ordinary user alone', (t) => {
  for (const home of ['', 'relative']) {
    t.throws(() => cacheRoot(undefined, { env: {}, uid: 1, home }), {
      code: 'STORAGE_FAILED',
      message: /\$HOME is not an absolute path/,
    })
    t.equal(cacheRoot(undefined, { env: {}, uid: 0, home }), '/var/cache/ocimount')
  }
  t.end()
})

t.test('Cache.open() makes a cache that is nobody else’s business', async (t) => {
  const dir = `${t.testdir()}/deep/cache`
  const before = process.umask(0)
  try {
    await Cache.open({ dir })
  } finally {
    process.umask(before)
  }
  const modes = readdirSync(dir, { recursive: true, withFileTypes: true }).map((entry) => {
    const mode = statSync(join(entry.parentPath, entry.name)).mode & 0o7777
    return mode === (entry.isDirectory() ? 0o700 : 0o600)
  })
  t.ok(modes.length > 10 && modes.every(Boolean))
  t.equal(statSync(dir).mode & 0o7777, 0o700)
  t.match(
    readFileSync(join(dir, 'CACHEDIR.TAG'), 'utf8'),
    /^Signature: 8a477f597d28d172789f06886806bc55\n/,
  )
})

t.test('Cache.open() writes nothing to a complete cache', async (t) => {
  const dir = `${t.testdir()}/cache`
  await Cache.open({ dir })
  const state = (): string[] =>
    readdirSync(dir, { recursive: true, encoding: 'utf8' })
      .sort()
      .map((name) => `${name} ${statSync(join(dir, name)).ctimeMs}`)
  const before = state()
  await Cache.open({ dir })
  t.strictSame(state(), before)
})

t.test('Cache.open() completes what a crash left and what somebody removed', async (t) => {
  const dir = `${t.testdir()}/cache`
  await Cache.open({ dir })
  const names = readdirSync(dir).sort()
  for (const name of names) {
    if (name === 'CACHEDIR.TAG') continue
    rmSync(join(dir, name), { recursive: true })
    await Cache.open({ dir })
    t.strictSame(readdirSync(dir).sort(), names, name)
  }
  for (const name of names) if (name !== 'tmp') rmSync(join(dir, name), { recursive: true })
  await Cache.open({ dir })
  t.strictSame(readdirSync(dir).sort(), names, 'a crash before the tag')
})

t.test('Cache.open() never replaces an index that is there', async (t) => {
  const dir = `${t.testdir()}/cache`
  await Cache.open({ dir })
  writeFileSync(join(dir, 'index.json'), 'mine')
  rmSync(join(dir, 'oci-layout'))
  await Cache.open({ dir })
  t.equal(readFileSync(join(dir, 'index.json'), 'utf8'), 'mine')
})

t.test('Cache.open() refuses what it cannot trust', async (t) => {
  const cases: {
    name: string
    why: RegExp
    needsRoot?: boolean
    make: (parent: string) => string
  }[] = [
    {
      name: 'a symbolic link',
      why: /: it is a symbolic link$/,
      make: (parent) => {
        mkdirSync(`${parent}/real`, 0o700)
        symlinkSync('real', `${parent}/link`)
        return `${parent}/link`
      },
    },
    {
      name: 'a link to nowhere',
      why: /: it is a symbolic link$/,
      make: (parent) => {
        symlinkSync('nowhere', `${parent}/link`)
        return `${parent}/link`
      },
    },
    {
      name: 'a file',
      why: /: it is not a directory$/,
      make: (parent) => {
        writeFileSync(`${parent}/file`, '')
        return `${parent}/file`
      },
    },
    ...[0o770, 0o702, 0o777].map((mode) => ({
      name: `mode ${mode.toString(8)}`,
      why: new RegExp(`: others may write to it \\(its mode is 0${mode.toString(8)}\\)$`),
      make: (parent: string) => {
        mkdirSync(`${parent}/open`)
        chmodSync(`${parent}/open`, mode)
        return `${parent}/open`
      },
    })),
    {
      name: 'a place where anybody may rename',
      why: /: anybody may rename it \(the directory above is writable and not sticky\)$/,
      make: (parent) => {
        mkdirSync(`${parent}/public`)
        chmodSync(`${parent}/public`, 0o777)
        return `${parent}/public/cache`
      },
    },
    {
      name: 'somebody else’s',
      why: /: it belongs to user 12345, and this process runs as user 0$/,
      needsRoot: true,
      make: (parent) => {
        mkdirSync(`${parent}/foreign`, 0o700)
        chownSync(`${parent}/foreign`, 12345, 12345)
        return `${parent}/foreign`
      },
    },
    {
      name: 'a directory with something in it',
      why: /: it is not empty and not a cache of ocimount$/,
      make: (parent) => {
        mkdirSync(`${parent}/home`, 0o700)
        writeFileSync(`${parent}/home/oci-layout`, '{"imageLayoutVersion":"1.0.0"}')
        return `${parent}/home`
      },
    },
    {
      name: 'a cache of another version',
      why: /: its CACHEDIR\.TAG is not one of this version of ocimount$/,
      make: (parent) => {
        mkdirSync(`${parent}/other`, 0o700)
        writeFileSync(
          `${parent}/other/CACHEDIR.TAG`,
          'Signature: 8a477f597d28d172789f06886806bc55\n',
        )
        return `${parent}/other`
      },
    },
  ]
  for (const { name, why, needsRoot = false, make } of cases) {
    await t.test(
      name,
      { skip: needsRoot && process.getuid?.() !== 0 ? 'needs root' : false },
      async (t) => {
        const dir = make(t.testdir())
        await t.rejects(Cache.open({ dir }), { code: 'STORAGE_FAILED', message: why })
      },
    )
  }
})

t.test('Cache.open() accepts a place below a sticky public directory', async (t) => {
  const parent = t.testdir()
  chmodSync(parent, 0o1777)
  await Cache.open({ dir: `${parent}/cache` })
  t.ok(existsSync(`${parent}/cache/CACHEDIR.TAG`))
})

t.test('Cache.open() sweeps staging of dead processes, not of living ones', async (t) => {
  const dir = `${t.testdir()}/cache`
  const cache = await Cache.open({ dir })
  const living = startChild(t, 'pin', dir, `layers/sha256-${'a'.repeat(64)}`)
  const dead = startChild(t, 'pin', dir, `layers/sha256-${'b'.repeat(64)}`)
  await Promise.all([living.nextLine(), dead.nextLine()])
  dead.process.kill('SIGKILL')
  await dead.ended
  t.equal(readdirSync(cache.tmpPath).length, 2)
  await Cache.open({ dir })
  // The removal runs behind the opening.
  while (readdirSync(cache.tmpPath).length > 1) await new Promise(setImmediate)
  t.match(readdirSync(cache.tmpPath)[0], new RegExp(`^${living.process.pid}-`))
})

t.test('Cache.open() works when several processes start a cache at once', async (t) => {
  const dir = `${t.testdir()}/cache`
  const children = Array.from({ length: 6 }, () => startChild(t, 'publish', dir))
  for (const child of children) t.equal(await child.nextLine(), 'ready')
  for (const child of children) child.process.stdin.write('go\n')
  const results = await Promise.all(children.map((child) => child.nextLine()))
  t.strictSame(
    results.sort(),
    ['kept', 'kept', 'kept', 'kept', 'kept', 'published'],
    'one entry, made once',
  )
  const cache = await Cache.open({ dir })
  for (const child of children) t.equal(await child.ended, 0)
  const { checked, bad } = await cache.verify()
  t.strictSame({ checked, bad }, { checked: 1, bad: [] })
  t.strictSame(readdirSync(cache.tmpPath), [])
})

t.test('Cache.open() fails at once where no directory can be made', async (t) => {
  // Node.js 20 spins for ever in a recursive mkdir below /proc.
  await t.rejects(Cache.open({ dir: '/proc/none/cache' }), { code: 'STORAGE_FAILED' })
  await t.rejects(Cache.open({ dir: '/etc/passwd/cache' }), { code: 'STORAGE_FAILED' })
})
