// User namespaces and the rewriting for runtimes without the rights of root (checklist C-054, C-069, C-096, C.5).

import t from 'tap'
import type { BundleOptions, HostFacts } from '../../src/bundle/options.js'
import { file } from '../helpers/build-layer.js'
import { convert } from '../helpers/bundle-input.js'

const BOUND_SYS = ['/sys', 'none', '/sys', 'rbind,nosuid,noexec,nodev,ro']

async function mountsOf(options: BundleOptions): Promise<string[][]> {
  const { config } = await convert({ options })
  return config.mounts.map(({ destination, type, source, options }) => [
    ...[destination, type, source, options?.join() ?? ''],
  ])
}

function typesOf(namespaces: readonly { readonly type: string }[]): string {
  return namespaces.map(({ type }) => type).join(' ')
}

t.test('rootless: runc keeps the control groups mount and leaves the network', async (t) => {
  const { config } = await convert({ options: { profile: 'runc', rootless: 'new' } })
  const { linux, process } = config
  t.equal(typesOf(linux.namespaces), 'pid ipc uts mount cgroup user')
  t.strictSame(linux.uidMappings, [{ containerID: 0, hostID: 1000, size: 1 }])
  t.strictSame(linux.gidMappings, [{ containerID: 0, hostID: 1001, size: 1 }])
  t.equal(linux.resources, undefined)
  t.strictSame(process.user, { uid: 0, gid: 0 })
  const mounts = await mountsOf({ profile: 'runc', rootless: 'new' })
  t.strictSame(mounts[2]?.[3], 'nosuid,noexec,newinstance,ptmxmode=0666,mode=0620')
  t.strictSame(mounts[5], BOUND_SYS)
  t.equal(mounts[6]?.[0], '/sys/fs/cgroup')
})

t.test('rootless: umoci binds /sys last and drops what is below it', async (t) => {
  const mounts = await mountsOf({ profile: 'umoci', rootless: 'new' })
  t.strictSame(
    mounts.map(([destination]) => destination),
    ['/proc', '/dev', '/dev/pts', '/dev/shm', '/dev/mqueue', '/sys'],
  )
  t.strictSame(mounts[5], BOUND_SYS)
})

t.test('rootless: ours has a network of its own and is the same inside a namespace', async (t) => {
  for (const rootless of ['new', 'current'] as const) {
    const host: Partial<HostFacts> =
      rootless === 'new'
        ? {}
        : {
            uidMap: [{ containerID: 0, hostID: 1000, size: 1 }],
            gidMap: [{ containerID: 0, hostID: 1000, size: 1 }],
            isSetgroupsDenied: true,
          }
    const { config, warnings } = await convert({ options: { rootless }, host })
    const user = rootless === 'new' ? ' user' : ''
    t.equal(typesOf(config.linux.namespaces), `pid network ipc uts mount cgroup${user}`)
    t.strictSame(config.mounts.map(({ destination }) => destination).slice(-2), [
      '/dev/mqueue',
      '/sys',
    ])
    t.notMatch(JSON.stringify(config.mounts), /gid=/)
    t.equal(config.linux.resources, undefined)
    t.equal(config.process.user.additionalGids, undefined)
    t.strictSame(warnings, [])
    const other = convert({ options: { rootless, user: '1000' }, host })
    await t.rejects(other, { code: 'USAGE', message: /as user 1000/ }, 'C-054')
    const limited = convert({ options: { rootless, memory: 1 << 20 }, host })
    await t.rejects(limited, { code: 'USAGE', message: /control groups/ })
  }
})

t.test('rootless: lost groups are told of', async (t) => {
  const parts = [
    file('etc/passwd', 'root:x:0:0::/:\n'),
    file('etc/group', 'a:x:5:root\nb:x:6:root\n'),
  ]
  const { warnings } = await convert({ parts, options: { rootless: 'new' } })
  t.match(warnings, [/no room for the supplementary groups 5, 6/])
  const map = [{ containerID: 0, hostID: 100_000, size: 6 }]
  const mapped = await convert({ parts, options: { uidMap: map } })
  t.strictSame(mapped.config.process.user.additionalGids, [0, 5])
  t.match(mapped.warnings, [/groups 6/])
})

t.test(
  'an id map of root makes a user namespace and changes no more than it must (C-069)',
  async (t) => {
    const uidMap = [{ containerID: 0, hostID: 100_000, size: 65_536 }]
    const { config } = await convert({ options: { uidMap } })
    t.equal(typesOf(config.linux.namespaces), 'pid network ipc uts mount cgroup user')
    t.strictSame(config.linux.uidMappings, uidMap)
    t.strictSame(config.linux.gidMappings, uidMap, 'one map stands for both')
    const gidMap = [{ containerID: 1, hostID: 100_000, size: 9 }]
    await t.rejects(convert({ options: { uidMap, gidMap } }), {
      ...{ code: 'USAGE', message: /without 0, its root/ },
    })
    t.match(JSON.stringify(config.mounts), /gid=5/)
    t.equal(config.mounts[5]?.type, 'sysfs')
    t.ok(config.linux.resources)
    const host = await convert({ options: { uidMap, network: 'host' } })
    t.equal(host.config.mounts[5]?.source, '/sys', "sysfs is not for a network that is the host's")
  },
)
