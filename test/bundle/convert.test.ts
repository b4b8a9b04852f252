// The rows C-001 to C-037 of the checklist, S-26 and S-27, and what options change.

import t from 'tap'
import { encodeRuntimeConfig, type RuntimeCapabilities } from '../../src/bundle/runtime-config.js'
import type { BundleOptions } from '../../src/bundle/options.js'
import { dir, file, symlink } from '../helpers/build-layer.js'
import { convert, type InputSpec } from '../helpers/bundle-input.js'

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

async function processOf(
  spec: InputSpec,
): Promise<Awaited<ReturnType<typeof convert>>['config']['process']> {
  return (await convert(spec)).config.process
}

t.test(
  'convertConfig() takes Entrypoint and Cmd as docker run does (C-008 to C-011)',
  async (t) => {
    const both = { Entrypoint: ['/e', 'x'], Cmd: ['c', ''] }
    const cases: readonly [Record<string, unknown>, BundleOptions, readonly string[]][] = [
      [both, {}, ['/e', 'x', 'c', '']],
      [{ Entrypoint: ['/e'] }, {}, ['/e']],
      [{ Cmd: ['/c', 'y'] }, {}, ['/c', 'y']],
      [both, { args: ['a'] }, ['/e', 'x', 'a']],
      [both, { args: [] }, ['/e', 'x', 'c', '']],
      [both, { entrypoint: ['/n'] }, ['/n']],
      [both, { entrypoint: ['/n'], args: ['a'] }, ['/n', 'a']],
      [both, { entrypoint: [], args: ['a'] }, ['a']],
      [{}, { args: ['/a'], mustStart: true }, ['/a']],
    ]
    for (const [config, options, want] of cases) {
      const { config: got, warnings } = await convert({ config, options })
      t.strictSame([got.process.args, warnings], [want, []], JSON.stringify([config, options]))
    }
    const none = await convert({ config: {} })
    t.strictSame(none.config.process.args, ['sh'])
    t.match(none.warnings, [/neither Entrypoint nor Cmd/])
    await t.rejects(convert({ config: both, options: { entrypoint: [], mustStart: true } }), {
      code: 'USAGE',
    })
    await t.rejects(convert({ config: { Cmd: [''] } }), { code: 'IMAGE_INVALID' })
    await t.rejects(convert({ config: { Cmd: ['a\0b'] } }), {
      code: 'IMAGE_INVALID',
      message: /NUL/,
    })
    await t.rejects(convert({ config: both, options: { entrypoint: [''] } }), { code: 'USAGE' })
  },
)

t.test(
  'convertConfig() takes Env as it is and adds what is missing (C-005 to C-007)',
  async (t) => {
    const Env = ['B=x=y', 'A=', 'S=two words', 'U=ü', 'B=last']
    t.strictSame((await processOf({ config: { Env } })).env, [
      ...['B=last', 'A=', 'S=two words', 'U=ü'],
      ...[PATH, 'HOME=/'],
    ])
    const own = { config: { Env: ['PATH=/p', 'HOME=', 'TERM=t'] }, options: { tty: true } }
    t.strictSame((await processOf(own)).env, ['PATH=/p', 'HOME=', 'TERM=t'])
    const over = { config: { Env: ['A=1', 'B=2'] }, options: { env: ['B=3', 'C=4'], tty: true } }
    const want = ['A=1', 'B=3', 'C=4', PATH, 'HOME=/', 'TERM=xterm']
    t.strictSame((await processOf(over)).env, want)
    const passwd = { parts: [file('etc/passwd', 'root:x:0:0::/root:\n')] }
    t.strictSame((await processOf(passwd)).env, [PATH, 'HOME=/root'], 'C-049')
    const odd = await convert({ config: { Env: ['NOVALUE', 'A=1'] } })
    t.strictSame(odd.config.process.env, ['A=1', PATH, 'HOME=/'], 'A-131')
  },
)

t.test('convertConfig() takes WorkingDir as it is (C-002 to C-004, S-26)', async (t) => {
  const cwdOf = async (WorkingDir: string): Promise<string> =>
    (await processOf({ config: { WorkingDir } })).cwd
  t.equal(await cwdOf('/srv/x'), '/srv/x')
  t.equal(await cwdOf('/srv//x/'), '/srv//x/')
  t.equal(await cwdOf(''), '/')
  t.equal(await cwdOf('app'), '/app')
  t.match((await convert({ config: { WorkingDir: 'app' } })).warnings, [
    /"app" is relative/,
    /neither/,
  ])
  t.equal((await processOf({ config: { WorkingDir: '/a' }, options: { workdir: '/b' } })).cwd, '/b')
  for (const bad of ['/proc/self/fd/7', '/proc', '//proc/1', '/a/../b', '..', '/./proc', '/a\0b']) {
    await t.rejects(cwdOf(bad), { code: 'IMAGE_INVALID', message: /working directory/ }, bad)
  }
  await t.rejects(convert({ options: { workdir: '/proc/1' } }), { code: 'USAGE' })
})

t.test('convertConfig() makes annotations (C-012 to C-022)', async (t) => {
  const image = {
    os: 'linux',
    architecture: 'amd64',
    variant: 'v1',
    'os.version': '5',
    'os.features': ['f', 'g'],
    author: 'A',
    created: '2024-05-10T07:46:24.173544963+02:00',
  }
  const config = {
    StopSignal: 'SIGRTMIN+3',
    ExposedPorts: { '80/tcp': {}, '443': {}, '53/udp': {} },
    Labels: { b: '', a: ' x ', '': 'no name', __proto__x: 'y' },
  }
  const { config: got, warnings } = await convert({ image, config })
  const name = (key: string): string => `org.opencontainers.image.${key}`
  t.strictSame(got.annotations, {
    __proto__x: 'y',
    a: ' x ',
    b: '',
    [name('architecture')]: 'amd64',
    [name('author')]: 'A',
    [name('created')]: '2024-05-10T07:46:24.173544963+02:00',
    [name('exposedPorts')]: '443,53/udp,80/tcp',
    [name('os')]: 'linux',
    [name('os.features')]: 'f,g',
    [name('os.version')]: '5',
    [name('stopSignal')]: 'SIGRTMIN+3',
    [name('variant')]: 'v1',
  })
  t.strictSame(
    Object.keys(got.annotations ?? {}),
    Object.keys(got.annotations ?? {}).toSorted(),
    'C-073',
  )
  t.match(warnings, [/Entrypoint/, /label without a name/])
  const wins = await convert({
    image: { author: 'field' },
    config: { Labels: { [name('author')]: 'label', x: 'label' }, ExposedPorts: { '1': {} } },
    options: {
      annotations: new Map([
        ['x', 'caller'],
        [name('exposedPorts'), 'caller'],
      ]),
    },
  })
  t.equal(wins.config.annotations?.[name('author')], 'label', 'C-017')
  t.equal(wins.config.annotations?.['x'], 'caller')
  t.equal(wins.config.annotations?.[name('exposedPorts')], 'caller')
})

t.test('convertConfig() keeps a label of the name __proto__', async (t) => {
  const bytes = '{"Labels":{"__proto__":"v"},"Cmd":["x"]}'
  const config = JSON.parse(bytes) as Record<string, unknown>
  const text = encodeRuntimeConfig((await convert({ config })).config).toString()
  t.match(text, /"__proto__": "v"/)
})

t.test('convertConfig() drops labels that a runtime acts upon (C-020, S-27)', async (t) => {
  const orders = [
    'org.criu.config',
    'org.systemd.property.ExecStart',
    'run.oci.handler',
    'run.oci.hooks.stderr',
    'io.katacontainers.config.hypervisor.path',
    'io.kubernetes.cri.container-type',
    'module.wasm.image/variant',
  ]
  const Labels = Object.fromEntries(orders.map((key) => [key, '/x']))
  const config = { Cmd: ['x'], Labels: { ...Labels, 'org.criurious': 'kept' } }
  const dropped = await convert({ config })
  t.equal(dropped.warnings.length, orders.length)
  t.match(dropped.warnings[0], 'label "org.criu.config" is left out')
  for (const key of orders) t.notOk(key in (dropped.config.annotations ?? {}), key)
  t.equal(dropped.config.annotations?.['org.criurious'], 'kept')
  const all = await convert({ config, options: { allLabels: true } })
  t.strictSame(all.warnings, [])
  for (const key of orders) t.equal(all.config.annotations?.[key], '/x', key)
  const annotations = new Map([['run.oci.handler', 'krun']])
  const asked = await convert({ options: { annotations } })
  t.equal(asked.config.annotations?.['run.oci.handler'], 'krun', "the caller's own are no image's")
})

t.test(
  'convertConfig() refuses other systems and warns of other processors (C-033, A-136)',
  async (t) => {
    for (const os of ['windows', 'freebsd']) {
      await t.rejects(convert({ image: { os } }), {
        code: 'IMAGE_UNSUPPORTED',
        message: /not for Linux/,
      })
    }
    const image = { architecture: 'arm64' }
    t.match((await convert({ image })).warnings, [
      /is for linux\/arm64, and this machine is linux\/amd64/,
    ])
    await t.rejects(convert({ image, options: { mustStart: true } }), { code: 'IMAGE_UNSUPPORTED' })
    t.strictSame(
      (await convert({ image: { architecture: '386' } })).warnings,
      [],
      'an older relative',
    )
    t.strictSame(
      (await convert({ image: { os: '', architecture: '' }, options: { mustStart: true } }))
        .warnings,
      [],
    )
  },
)

t.test('convertConfig() ignores what is reserved or left over (C-034 to C-037)', async (t) => {
  const plain = await convert({ config: { Cmd: ['x'] } })
  const leftovers = {
    ArgsEscaped: true,
    Healthcheck: { Test: ['CMD', 'x'] },
    OnBuild: ['RUN x'],
    Shell: ['/bin/bash'],
    Memory: 1,
    MemorySwap: 1,
    CpuShares: 1,
    Hostname: 'h',
    Tty: true,
  }
  const full = await convert({ config: { Cmd: ['x'], ...leftovers } })
  t.strictSame(full.config, plain.config)
  const stopped = await convert({ config: { Cmd: ['x'], StopSignal: '15' } })
  t.strictSame({ ...stopped.config, annotations: {} }, { ...plain.config, annotations: {} })
})

t.test('convertConfig() mounts volumes (C-023, C-024, S-26)', async (t) => {
  const parts = [
    dir('data', { mode: 0o1700, uid: 999, gid: 998 }),
    file('data/x', 'seed'),
    dir('real', { mode: 0o711 }),
    symlink('link', 'real'),
  ]
  const config = { Cmd: ['x'], Volumes: { '/z': {}, '/data/': {}, '/data': null, '/link': {} } }
  const volumesOf = async (options: BundleOptions): Promise<unknown[]> => {
    const { config: got } = await convert({ config, parts, options })
    return got.mounts.slice(7).map(({ destination, options }) => [destination, options?.join()])
  }
  t.strictSame(await volumesOf({}), [
    ['/data', 'rw,nosuid,nodev,relatime,mode=1700,uid=999,gid=998,tmpcopyup'],
    ['/link', 'rw,nosuid,nodev,relatime,mode=711,tmpcopyup'],
    ['/z', 'rw,nosuid,nodev,relatime,mode=755'],
  ])
  t.strictSame(await volumesOf({ volumes: 'ignore' }), [])
  t.strictSame(await volumesOf({ profile: 'runc' }), [])
  t.strictSame((await volumesOf({ profile: 'umoci' }))[0], [
    '/data',
    'rw,nosuid,nodev,noexec,relatime',
  ])
  const mounts = [
    { destination: '/z', type: 'bind', source: '/h', options: ['rbind'], isFile: false },
  ]
  t.strictSame((await volumesOf({ mounts }))[2], ['/z', 'rbind'], 'the caller replaces a volume')
  for (const bad of [
    '/../../etc',
    '/a/..',
    '/',
    '//',
    '/proc',
    '/proc/sys',
    '/sys/x',
    '/dev',
    'rel',
    '',
  ]) {
    const hostile = convert({ config: { Volumes: { [bad]: {} } } })
    await t.rejects(hostile, { code: 'IMAGE_INVALID', message: /volume/ }, bad)
  }
})

t.test('convertConfig() gives root its capabilities and others none (C-095)', async (t) => {
  const capsOf = async (options: BundleOptions): Promise<Partial<RuntimeCapabilities>> => ({
    ...(await processOf({ options })).capabilities,
  })
  const eleven = (await capsOf({})).bounding ?? []
  t.equal(eleven.length, 11)
  t.strictSame(await capsOf({}), { bounding: eleven, effective: eleven, permitted: eleven })
  t.strictSame(await capsOf({ user: '5' }), { bounding: eleven, effective: [], permitted: [] })
  const net = ['CAP_NET_ADMIN']
  t.strictSame(await capsOf({ user: '5', capAdd: net }), {
    bounding: [...eleven, ...net],
    effective: net,
    inheritable: net,
    permitted: net,
    ambient: net,
  })
  t.strictSame((await capsOf({ capDrop: ['ALL'], capAdd: net })).bounding, net)
  t.equal((await capsOf({ capAdd: ['ALL'], capDrop: net })).bounding?.length, 40)
  await t.rejects(capsOf({ capAdd: net, capDrop: net }), { code: 'USAGE' })
})

t.test('convertConfig() sets limits, hooks and names', async (t) => {
  const { config } = await convert({
    options: {
      memory: 1 << 29,
      cpus: 1.5,
      pidsLimit: 7,
      hostname: 'h',
      readOnly: true,
      poststop: ['/usr/bin/ocimount', 'umount', '/b'],
    },
  })
  t.strictSame(config.linux.resources, {
    devices: [{ allow: false, access: 'rwm' }],
    memory: { limit: 536_870_912 },
    cpu: { quota: 150_000, period: 100_000 },
    pids: { limit: 7 },
  })
  t.match(config.hooks?.poststop, [
    { path: '/usr/bin/ocimount', args: ['/usr/bin/ocimount', 'umount', '/b'] },
  ])
  t.equal(config.hostname, 'h')
  t.strictSame(config.root, { path: 'rootfs', readonly: true }, 'C-063')
  t.strictSame((await convert({})).config.root, { path: 'rootfs' })
})

t.test('convertConfig() shares the network of the host when asked (C-101)', async (t) => {
  const networkFiles = new Map([
    ['/etc/resolv.conf', ['nosuid', 'nodev']],
    ['/etc/hosts', []],
  ])
  const host = { networkFiles }
  const { config } = await convert({ options: { network: 'host' }, host })
  t.notOk(config.linux.namespaces.some(({ type }) => type === 'network'))
  t.strictSame(config.mounts.slice(7), [
    {
      destination: '/etc/hosts',
      type: 'bind',
      source: '/etc/hosts',
      options: ['bind', 'rprivate', 'ro'],
    },
    {
      destination: '/etc/resolv.conf',
      type: 'bind',
      source: '/etc/resolv.conf',
      options: ['bind', 'rprivate', 'ro', 'nosuid', 'nodev'],
    },
  ])
  const none = await convert({ host })
  t.ok(none.config.linux.namespaces.some(({ type }) => type === 'network'))
  t.equal(none.config.mounts.length, 7)
  const docker = await convert({ options: { profile: 'docker', network: 'host' }, host })
  t.strictSame(
    docker.files.map(({ name }) => name),
    ['hostname'],
  )
  t.equal(docker.config.linux.sysctl, undefined, "they would be the host's")
})

t.test("convertConfig() puts the caller's mounts in their places (C-064)", async (t) => {
  const mount = (
    destination: string,
  ): { destination: string; type: string; source: string; isFile: boolean } => ({
    ...{ destination, type: 'bind', source: '/h', isFile: false },
  })
  const mounts = ['/a/b/c', '/sys', '/b', '/a'].map(mount)
  const { config } = await convert({ options: { mounts } })
  const places = config.mounts.map(({ destination }) => destination)
  t.strictSame(places.slice(0, 6), ['/proc', '/dev', '/dev/pts', '/dev/shm', '/dev/mqueue', '/sys'])
  t.equal(config.mounts[5]?.source, '/h')
  t.strictSame(places.slice(7), ['/a', '/b', '/a/b/c'])
  t.notOk('isFile' in (config.mounts[5] ?? {}))
  await t.rejects(convert({ options: { mounts: [mount('/a'), mount('/a')] } }), { code: 'USAGE' })
})

t.test('convertConfig() is deterministic (C-073)', async (t) => {
  const spec = (keys: readonly string[]): InputSpec => ({
    config: {
      Cmd: ['x'],
      Labels: Object.fromEntries(keys.map((key) => [key, 'v'])),
      Volumes: Object.fromEntries(keys.map((key) => [`/${key}`, {}])),
      ExposedPorts: Object.fromEntries(keys.map((key) => [`${key.length}/tcp`, {}])),
    },
    options: { id: 'id' },
  })
  const [one, two] = [
    await convert(spec(['a', 'bb', 'ccc'])),
    await convert(spec(['ccc', 'a', 'bb'])),
  ]
  t.ok(encodeRuntimeConfig(one.config).equals(encodeRuntimeConfig(two.config)))
  t.strictSame(one.mountPoints, two.mountPoints)
})
