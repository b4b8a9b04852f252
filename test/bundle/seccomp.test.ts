// Seccomp profiles: the conditions of containers-common and Docker, and the machine's own profile.

import { readFileSync } from 'node:fs'
import t from 'tap'
import { MACHINE_SECCOMP_PROFILE, readSeccompProfile } from '../../src/bundle/host-facts.js'
import { parseSeccompProfile } from '../../src/bundle/seccomp-profile.js'
import { translateSeccomp, type SeccompContext } from '../../src/bundle/seccomp.js'
import type { RuntimeSeccomp } from '../../src/bundle/runtime-config.js'
import { convert } from '../helpers/bundle-input.js'
import { schemaProblems, schemaSkipReason } from '../helpers/runtime-schema.js'

const CONTEXT: SeccompContext = {
  capabilities: ['CAP_KILL'],
  architecture: 'amd64',
  kernel: [5, 10],
}

function translate(document: object, context: Partial<SeccompContext> = {}): RuntimeSeccomp {
  const profile = parseSeccompProfile(Buffer.from(JSON.stringify(document)), 'p.json')
  return translateSeccomp(profile, { ...CONTEXT, ...context })
}

function rule(name: string, conditions: object = {}): object {
  return { names: [name], action: 'SCMP_ACT_ALLOW', ...conditions }
}

t.test('translateSeccomp() keeps the rules whose conditions hold', async (t) => {
  const syscalls = [
    rule('always'),
    rule('null', { args: null, includes: null, excludes: {} }),
    rule('kill', { includes: { caps: ['CAP_KILL'] } }),
    rule('admin', { includes: { caps: ['CAP_KILL', 'CAP_SYS_ADMIN'] } }),
    rule('no-kill', { excludes: { caps: ['CAP_SYS_ADMIN', 'CAP_KILL'] } }),
    rule('no-admin', { excludes: { caps: ['CAP_SYS_ADMIN'] } }),
    rule('arm', { includes: { arches: ['arm', 'arm64'] } }),
    rule('amd', { includes: { arches: ['amd64', 'x32'] } }),
    rule('no-amd', { excludes: { arches: ['amd64'] } }),
    rule('new', { includes: { minKernel: '5.11' } }),
    rule('old', { includes: { minKernel: '4.8' } }),
  ]
  const names = (context: Partial<SeccompContext> = {}): string =>
    translate({ defaultAction: 'SCMP_ACT_ERRNO', syscalls }, context)
      .syscalls.map((syscall) => syscall.names.join())
      .join(' ')
  t.equal(names(), 'always null kill no-admin amd old')
  t.equal(names({ capabilities: [] }), 'always null no-kill no-admin amd old')
  t.equal(names({ architecture: 'arm64' }), 'always null kill no-admin arm no-amd old')
  t.equal(names({ kernel: [6, 0] }), 'always null kill no-admin amd new old')
})

t.test('translateSeccomp() writes the form of the runtime-spec', async (t) => {
  const document = {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrno: 'ENOSYS',
    archMap: [
      { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
      { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] },
    ],
    syscalls: [
      { name: 'one', action: 'SCMP_ACT_ERRNO', errnoRet: 1, errno: 'EPERM', comment: '' },
      {
        names: ['two'],
        action: 'SCMP_ACT_ALLOW',
        args: [{ index: 1, value: 2, op: 'SCMP_CMP_EQ' }],
      },
    ],
  }
  t.strictSame(translate(document), {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 38,
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
    syscalls: [
      { names: ['one'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 },
      {
        names: ['two'],
        action: 'SCMP_ACT_ALLOW',
        args: [{ index: 1, value: 2, valueTwo: 0, op: 'SCMP_CMP_EQ' }],
      },
    ],
  })
  t.notOk('architectures' in translate(document, { architecture: 'riscv64' }))
  const plain = { defaultAction: 'A', architectures: ['SCMP_ARCH_X86'], flags: ['F'] }
  t.strictSame(translate(plain), { ...plain, syscalls: [] })
})

t.test('parseSeccompProfile() names what is wrong', async (t) => {
  const bad: readonly (readonly [string, RegExp])[] = [
    ['', /p\.json: it is not JSON/],
    ['[]', /it is not an object/],
    ['{}', /defaultAction is not a string/],
    ['{"defaultAction":1}', /defaultAction is not a string/],
    ['{"defaultAction":"A","syscalls":{}}', /syscalls is not an array/],
    ['{"defaultAction":"A","syscalls":[1]}', /syscalls\[0\] is not an object/],
    ['{"defaultAction":"A","syscalls":[{"names":["x"]}]}', /syscalls\[0\]\.action is not/],
    ['{"defaultAction":"A","defaultErrno":"EWHAT"}', /not the name of an error/],
    [
      '{"defaultAction":"A","syscalls":[{"name":"x","names":["y"],"action":"B"}]}',
      /both name and names/,
    ],
    [
      '{"defaultAction":"A","syscalls":[{"names":[],"action":"B","args":[{"index":0,"value":18446744073709551615}]}]}',
      /args\[0\]\.value is not an integer/,
    ],
    ['{"defaultAction":"A","architectures":["a"],"archMap":[{"architecture":"b"}]}', /both/],
    ['{"defaultAction":"A","listenerPath":"/x"}', /listener/],
  ]
  for (const [text, message] of bad) {
    t.throws(
      () => parseSeccompProfile(Buffer.from(text), 'p.json'),
      { code: 'USAGE', message },
      text,
    )
  }
  await t.rejects(readSeccompProfile('/nonexistent'), { code: 'FILE_NOT_FOUND' })
})

t.test('convertConfig() uses the machine’s profile where the tool has one', async (t) => {
  const seccomp = parseSeccompProfile(Buffer.from('{"defaultAction":"MACHINE"}'), 'p')
  const own = parseSeccompProfile(Buffer.from('{"defaultAction":"OWN"}'), 'p')
  const host = { seccomp }
  for (const profile of ['default', 'docker', 'podman'] as const) {
    const { config } = await convert({ options: { profile }, host })
    t.equal(config.linux.seccomp?.defaultAction, 'MACHINE', profile)
  }
  for (const profile of ['runc', 'umoci', 'containerd'] as const) {
    t.equal((await convert({ options: { profile }, host })).config.linux.seccomp, undefined)
    const { config } = await convert({ options: { profile, seccomp: own }, host })
    t.equal(config.linux.seccomp?.defaultAction, 'OWN', profile)
  }
  t.equal((await convert({ options: { seccomp: 'none' }, host })).config.linux.seccomp, undefined)
})

let skip = schemaSkipReason()
try {
  readFileSync(MACHINE_SECCOMP_PROFILE)
} catch {
  skip = 'this machine has no seccomp profile'
}
t.test('the machine’s own profile becomes a valid filter', { skip }, async (t) => {
  const seccomp = await readSeccompProfile(MACHINE_SECCOMP_PROFILE)
  const all = await convert({ options: { seccomp, capAdd: ['ALL'] } })
  const few = await convert({ options: { seccomp, capDrop: ['ALL'] } })
  t.strictSame(schemaProblems([all.config, few.config]), ['', ''])
  const allows = ({ linux }: typeof all.config, name: string): boolean =>
    linux.seccomp?.syscalls.some(
      ({ names, action }) => action === 'SCMP_ACT_ALLOW' && names.includes(name),
    ) ?? false
  t.ok(allows(all.config, 'bpf'))
  t.notOk(allows(few.config, 'bpf'))
  t.ok(allows(few.config, 'execve'))
})
