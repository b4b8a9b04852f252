// Each profile against the tables of checklist C.5, written down here once more from there; and against the config that the
// tools themselves write, where they are on this machine.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { PROFILE_NAMES, type ProfileName } from '../../src/bundle/options.js'
import type { RuntimeConfig } from '../../src/bundle/runtime-config.js'
import { file } from '../helpers/build-layer.js'
import { convert } from '../helpers/bundle-input.js'
import { missingTool } from '../helpers/list-tar.js'

const FOURTEEN =
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE'
const ELEVEN =
  'CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT'
const THREE = 'AUDIT_WRITE KILL NET_BIND_SERVICE'
const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const THERMAL = '/sys/devices/system/cpu/cpu0/thermal_throttle'
const SAFE = 'nosuid,noexec,nodev'

/** One mount a line: destination, type, source, options. */
const DEV = '/dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k'
const PTS = '/dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5'
const SHM = `/dev/shm tmpfs shm ${SAFE},mode=1777,size=65536k`
const MQUEUE = `/dev/mqueue mqueue mqueue ${SAFE}`
const SYS = `/sys sysfs sysfs ${SAFE},ro`
const PROC = `/proc proc proc ${SAFE}`
const RUNC_MOUNTS = [
  ...['/proc proc proc', DEV, PTS, SHM, MQUEUE, SYS],
  `/sys/fs/cgroup cgroup cgroup ${SAFE},relatime,ro`,
]
const etc = (options: string): string[] =>
  ['hostname', 'hosts', 'resolv.conf'].map((name) => `/etc/${name} bind ${name} ${options}`)

interface Wanted {
  readonly sets: string
  readonly capabilities: string
  readonly terminal: boolean
  readonly noNewPrivileges: boolean
  readonly rlimits: string
  readonly env: readonly string[]
  readonly hostname: string | undefined
  readonly mounts: readonly string[]
  readonly namespaces: string
  readonly deviceRules: number
  readonly other: object
}

const RUNC: Wanted = {
  sets: 'bounding effective permitted',
  capabilities: THREE,
  terminal: true,
  noNewPrivileges: true,
  rlimits: 'RLIMIT_NOFILE 1024 1024',
  env: [PATH, 'TERM=xterm'],
  hostname: 'runc',
  mounts: RUNC_MOUNTS,
  namespaces: 'pid network ipc uts mount cgroup',
  deviceRules: 1,
  other: {},
}
const WANTED: Readonly<Record<ProfileName, Wanted>> = {
  default: {
    ...RUNC,
    capabilities: ELEVEN,
    terminal: false,
    rlimits: '',
    env: [PATH, 'HOME=/root'],
    hostname: 'ocimount',
  },
  runc: RUNC,
  umoci: {
    ...RUNC,
    sets: 'ambient bounding effective inheritable permitted',
    env: [PATH, 'TERM=xterm', 'HOME=/root'],
    hostname: 'umoci-default',
    namespaces: 'cgroup pid network ipc uts mount',
  },
  containerd: {
    ...RUNC,
    capabilities: FOURTEEN,
    terminal: false,
    env: [PATH],
    hostname: undefined,
    mounts: [PROC, DEV, PTS, SHM, MQUEUE, SYS, DEV.replace('/dev', '/run')],
    namespaces: 'pid ipc uts mount network',
    other: { cgroupsPath: '/default/0123456789abcdef' },
  },
  docker: {
    ...RUNC,
    capabilities: FOURTEEN,
    terminal: false,
    noNewPrivileges: false,
    rlimits: '',
    env: [PATH, 'HOSTNAME=0123456789ab'],
    hostname: '0123456789ab',
    mounts: [
      ...[PROC, DEV, PTS, SYS, '/sys/fs/cgroup cgroup cgroup ro,nosuid,noexec,nodev', MQUEUE],
      SHM.replace('65536k', '67108864'),
      ...etc('rbind,rprivate'),
    ],
    namespaces: 'mount network time uts pid ipc cgroup',
    deviceRules: 8,
    other: {
      sysctl: {
        'net.ipv4.ip_unprivileged_port_start': '0',
        'net.ipv4.ping_group_range': '0 2147483647',
      },
    },
  },
  podman: {
    ...RUNC,
    capabilities: ELEVEN,
    terminal: false,
    noNewPrivileges: false,
    rlimits: '',
    env: [PATH, 'TERM=xterm', 'container=podman', 'HOME=/root', 'HOSTNAME=0123456789ab'],
    hostname: '0123456789ab',
    mounts: [
      ...[PROC, DEV, PTS, SHM, MQUEUE, SYS],
      `/sys/fs/cgroup cgroup cgroup rprivate,${SAFE},relatime,ro`,
      ...etc('bind,rprivate'),
    ],
    other: { pids: { limit: 2048 }, umask: 0o022 },
  },
}

/** Whether runc, umoci, containerd, docker and podman mask a path; ours are podman's. */
const MASKED: Readonly<Record<string, string>> = {
  '/proc/acpi': 'x-xxx',
  '/proc/asound': 'x-xx-',
  '/proc/interrupts': '---xx',
  '/proc/kcore': 'xxxxx',
  '/proc/keys': 'x-xxx',
  '/proc/latency_stats': 'xxxxx',
  '/proc/timer_list': 'xxxxx',
  '/proc/timer_stats': 'xxxxx',
  '/proc/sched_debug': 'xxxxx',
  '/proc/scsi': 'xxxxx',
  '/sys/firmware': 'xxxxx',
  '/sys/fs/selinux': '----x',
  '/sys/devices/virtual/powercap': '--xxx',
  [THERMAL]: '---xx',
}
const COLUMNS = ['runc', 'umoci', 'containerd', 'docker', 'podman']

async function configOf(profile: ProfileName): Promise<RuntimeConfig> {
  const { config } = await convert({
    config: { Cmd: ['x'] },
    parts: [file('etc/passwd', 'root:x:0:0::/root:\n')],
    options: { profile, id: '0123456789abcdef' },
  })
  return config
}

for (const profile of PROFILE_NAMES) {
  t.test(`--profile ${profile} is as checklist C.5 has it (C-095)`, async (t) => {
    const want = WANTED[profile]
    const { process, mounts, hostname, linux } = await configOf(profile)
    const capabilities = new Map(Object.entries(process.capabilities ?? {}))
    t.equal([...capabilities.keys()].toSorted().join(' '), want.sets)
    for (const [set, names] of capabilities) {
      const list = (names as readonly string[]).map((name) => name.replace('CAP_', ''))
      t.equal(list.join(' '), want.capabilities, set)
    }
    t.equal(process.terminal, want.terminal)
    t.equal(process.noNewPrivileges, want.noNewPrivileges)
    const rlimits = (process.rlimits ?? []).map(({ type, hard, soft }) => `${type} ${hard} ${soft}`)
    t.equal(rlimits.join(), want.rlimits)
    t.strictSame(process.env, want.env)
    t.equal(hostname, want.hostname)
    t.strictSame(
      mounts.map(({ destination, type, source, options }) =>
        [destination, type, source, ...(options === undefined ? [] : [options.join()])].join(' '),
      ),
      want.mounts,
    )
    t.equal(linux.namespaces.map(({ type }) => type).join(' '), want.namespaces)
    t.strictSame(linux.resources?.devices?.[0], { allow: false, access: 'rwm' })
    t.equal(linux.resources?.devices?.length, want.deviceRules)
    const { sysctl, cgroupsPath, resources } = linux
    const { umask } = process.user
    const other = { sysctl, cgroupsPath, pids: resources?.pids, umask }
    t.strictSame(JSON.parse(JSON.stringify(other)), want.other)
    const column = COLUMNS.indexOf(profile === 'default' ? 'podman' : profile)
    const masked = Object.keys(MASKED).filter((path) => MASKED[path]?.[column] === 'x')
    t.strictSame([...linux.maskedPaths].sort(), masked.toSorted())
    const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']
    const hasAsound = ['default', 'umoci', 'podman'].includes(profile)
    t.strictSame(linux.readonlyPaths, [...(hasAsound ? ['/proc/asound'] : []), ...readonlyPaths])
    t.equal(linux.seccomp, undefined, 'this machine has no profile')
  })
}

t.test('the docker profile allows the usual devices and denies FUSE', async (t) => {
  const { linux } = await configOf('docker')
  const rules = (linux.resources?.devices ?? []).slice(1)
  t.strictSame(
    rules.map(({ allow, type, major, minor, access }) => [
      allow,
      `${type} ${major}:${minor} ${access}`,
    ]),
    [
      ...['1:5', '1:3', '1:9', '1:8', '5:0', '5:1'].map((number) => [true, `c ${number} rwm`]),
      [false, 'c 10:229 rwm'],
    ],
  )
})

t.test('a namespace that the machine does not have is left out', async (t) => {
  const host = { isCgroupV2: false, hasTimeNamespaces: false }
  const typesOf = async (profile: ProfileName): Promise<string> =>
    (await convert({ options: { profile }, host })).config.linux.namespaces
      .map(({ type }) => type)
      .join(' ')
  t.equal(await typesOf('runc'), 'pid network ipc uts mount')
  t.equal(await typesOf('docker'), 'mount network uts pid ipc')
})

t.test('TERM and terminal follow the caller (C-099, C-102)', async (t) => {
  for (const profile of PROFILE_NAMES) {
    for (const tty of [true, false]) {
      const { process } = (await convert({ options: { profile, tty } })).config
      t.equal(process.terminal, tty, profile)
      const isAlways = ['runc', 'umoci', 'podman'].includes(profile)
      t.equal(process.env.includes('TERM=xterm'), tty || isAlways, profile)
    }
  }
})

t.test('containerd sets PATH only where the image sets nothing', async (t) => {
  const { process } = (
    await convert({ config: { Cmd: ['x'], Env: ['A=1'] }, options: { profile: 'containerd' } })
  ).config
  t.strictSame(process.env, ['A=1'])
})

t.test('runc spec writes the same', { skip: missingTool('runc', '--version') }, async (t) => {
  for (const rootless of [false, true]) {
    const directory = t.testdir({})
    execFileSync('runc', ['spec', ...(rootless ? ['--rootless'] : [])], { cwd: directory })
    const theirs = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as RuntimeConfig
    const { config: ours } = await convert({
      options: {
        profile: 'runc',
        args: ['sh'],
        readOnly: true,
        ...(rootless ? { rootless: 'new' } : {}),
      },
      host: {
        isCgroupV2: theirs.linux.namespaces.some(({ type }) => type === 'cgroup'),
        uid: 0,
        gid: 0,
      },
      image: { os: '', architecture: '' },
    })
    // runc 1.1 still fills the ambient set (gone in 1.2), and ends its version with -dev.
    const capabilities: Record<string, unknown> = { ...theirs.process.capabilities }
    delete capabilities['ambient']
    t.strictSame(ours, {
      ...theirs,
      ociVersion: ours.ociVersion,
      process: {
        ...theirs.process,
        capabilities,
        // The primary group is always there (C-048).
        user: { ...theirs.process.user, ...(rootless ? {} : { additionalGids: [0] }) },
      },
    })
  }
})
