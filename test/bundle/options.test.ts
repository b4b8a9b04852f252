// What people type, parsed; and what is wrong with it.

import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { CAPABILITIES, parseCapability } from '../../src/bundle/capabilities.js'
import { readEnvFiles, readSeccompProfile } from '../../src/bundle/host-facts.js'
import { parseIdMappings } from '../../src/bundle/id-mapping.js'
import { parseMount, parseSize, parseVolume } from '../../src/bundle/mount-options.js'
import {
  parseAnnotations,
  parseCpus,
  parseEntrypoint,
  parseEnv,
  parseEnvFile,
  parseHostname,
  parsePidsLimit,
} from '../../src/bundle/option-values.js'

/** All of these are refused as usage. */
function refuse(t: Test, parse: (text: string) => unknown, texts: readonly string[]): void {
  for (const text of texts) t.throws(() => parse(text), { code: 'USAGE' }, JSON.stringify(text))
}

t.test('parseMount()', async (t) => {
  const bind = { destination: '/d', type: 'bind', source: '/s' }
  const cases: readonly (readonly [string, object])[] = [
    ['type=bind,src=/s,dst=/d', { ...bind, options: ['rbind', 'rprivate', 'rw'] }],
    ['source=/s,destination=/d,readonly', { ...bind, options: ['rbind', 'rprivate', 'ro'] }],
    ['src=/s,target=//d/,ro=true', { ...bind, options: ['rbind', 'rprivate', 'ro'] }],
    ['src=/s,dst=/d,ro=0', { ...bind, options: ['rbind', 'rprivate', 'rw'] }],
    [
      'src=/s,dst=/d,bind-propagation=rslave,bind-nonrecursive',
      { ...bind, options: ['bind', 'rslave', 'rw'] },
    ],
    [
      '"src=/a,""b""=c",dst=/d',
      { ...bind, source: '/a,"b"=c', options: ['rbind', 'rprivate', 'rw'] },
    ],
    [
      'type=tmpfs,dst=/d,tmpfs-size=1m,tmpfs-mode=700',
      {
        ...{ destination: '/d', type: 'tmpfs', source: 'tmpfs' },
        options: ['nosuid', 'nodev', 'rw', 'mode=700', 'size=1048576'],
      },
    ],
  ]
  for (const [text, want] of cases) t.strictSame(parseMount(text), want, text)
  refuse(t, parseMount, [
    ...['', 'src=/s', 'dst=/d', 'src=/s,dst=d', 'src=/s,dst=/', 'src=/s,dst=/a/../b'],
    ...[
      'src=/s,dst=/proc/x',
      'type=volume,src=v,dst=/d',
      'src=/s,dst=/d,wat=1',
      'src=/s,dst=/d,src=/t',
    ],
    ...['"src=/s,dst=/d', 'src=/s,dst=/d,bind-propagation=x', 'src=/s,dst=/d,ro=maybe'],
    ...[
      'type=tmpfs,dst=/d,tmpfs-mode=9',
      'type=tmpfs,dst=/d,tmpfs-size=x',
      'type=tmpfs,dst=/d,src=/s',
    ],
  ])
})

t.test('parseVolume()', async (t) => {
  const bind = { destination: '/d', type: 'bind', source: './s' }
  t.strictSame(parseVolume('./s:/d'), { ...bind, options: ['rbind', 'rprivate', 'rw'] })
  const options = ['bind', 'slave', 'ro', 'noexec', 'nodev']
  t.strictSame(parseVolume('./s:/d:ro,noexec,nodev,bind,slave,noexec'), { ...bind, options })
  refuse(t, parseVolume, ['/s', ':/d', '/s:', '/s:/d:ro:x', '/s:/d:Z', '/s:d', '/s:/', '/s:/proc'])
})

t.test('parseSize()', async (t) => {
  const sizes = {
    '1': 1,
    '10b': 10,
    '512m': 1 << 29,
    '1.5G': 1.5 * 2 ** 30,
    '2KiB': 2048,
    '1t': 2 ** 40,
  }
  for (const [text, want] of Object.entries(sizes)) t.equal(parseSize(text), want, text)
  refuse(t, parseSize, ['', '0', '-1', '1x', 'm', '1e3', '0.1', '99999999t'])
})

t.test('parseCapability()', async (t) => {
  t.equal(CAPABILITIES.length, 41)
  t.equal(parseCapability('net_admin'), 'CAP_NET_ADMIN')
  t.equal(parseCapability('CAP_SYS_TIME'), 'CAP_SYS_TIME')
  t.equal(parseCapability('all'), 'ALL')
  refuse(t, parseCapability, ['', 'CAP_', 'CAP_ALL', 'SYS_EVERYTHING', 'NET_ADMIN,KILL'])
})

t.test('parseIdMappings()', async (t) => {
  t.strictSame(parseIdMappings(['0:1000:1,1:100000:65536', '70000:5:1']), [
    { containerID: 0, hostID: 1000, size: 1 },
    { containerID: 1, hostID: 100_000, size: 65_536 },
    { containerID: 70_000, hostID: 5, size: 1 },
  ])
  t.strictSame(parseIdMappings(['0:0:4294967295'])[0]?.size, 4_294_967_295)
  const parse = (text: string): unknown => parseIdMappings([text])
  refuse(t, parse, [
    ...['', '0', '0:1', '0:0:0', 'a:0:1', '0:0:1:2', '-1:0:1', '0:0:4294967296', '1:0:4294967295'],
    ...['0:0:2,1:100:1', '0:10:5,100:14:1', '0:99999999999:1'],
    Array.from({ length: 341 }, (_, index) => `${index}:${index}:1`).join(','),
  ])
  // The kernel takes less than a page of numbers: `1000000000 2000000000 1` and its line feed are 24 bytes.
  const long = (count: number): string =>
    Array.from({ length: count }, (_, index) => `${1e9 + index}:${2e9 + index}:1`).join(',')
  t.equal(parseIdMappings([long(170)]).length, 170)
  t.throws(() => parse(long(171)), { code: 'USAGE', message: /more than 4095 bytes/ })
})

t.test('parseEnv()', async (t) => {
  const own = { SET: 'x y', EMPTY: '' }
  t.strictSame(parseEnv(['A=1', 'SET', 'UNSET', 'EMPTY', 'B='], own), [
    'A=1',
    'SET=x y',
    'EMPTY=',
    'B=',
  ])
  refuse(t, (text) => parseEnv([text], own), ['', '=x'])
  t.strictSame(parseEnv(['constructor', 'toString', '__proto__'], process.env), [])
})

t.test('parseEnvFile()', async (t) => {
  const own = { SET: 'x y' }
  const parse = (text: string | Buffer): string[] => parseEnvFile(Buffer.from(text), 'f', own)
  const text = '\ufeffA=1\r\n\n  # B=2\n\t C="3" # 4\nSET\nUNSET\nD= e \nA=2\nF=a=b'
  t.strictSame(parse(text), ['A=1', 'C="3" # 4', 'SET=x y', 'D= e ', 'A=2', 'F=a=b'])
  t.strictSame(parse(''), [])
  refuse(t, parse, ['=x', 'A=1\n=x', 'A B=1', 'export A=1', 'A\tB', 'A=\0'])
  t.throws(() => parse('A=1\nA B=1'), { message: /line 2 of f: there is white space in the name/ })
  t.throws(() => parse(Buffer.from([65, 61, 255])), { code: 'USAGE', message: /not UTF-8/ })
})

t.test('readEnvFiles() and readSeccompProfile()', async (t) => {
  const directory = t.testdir({ a: 'A=1\n', b: 'B=2\n', env: '=x', seccomp: '{' })
  const pipe = join(directory, 'pipe')
  execFileSync('mkfifo', [pipe])
  const writing = writeFile(pipe, 'C=3\n')
  const paths = [join(directory, 'a'), pipe, join(directory, 'b')]
  t.strictSame(await readEnvFiles(paths), ['A=1', 'C=3', 'B=2'])
  await writing
  const message = 'Cannot use /dev/zero: it is larger than 16 MiB'
  await t.rejects(readEnvFiles(['/dev/zero']), { code: 'USAGE', message })

  const read = readEnvFiles([join(directory, 'env')])
  await t.rejects(read, { code: 'USAGE', message: /^Cannot use line 1 of / })
  await t.rejects(readSeccompProfile(join(directory, 'seccomp')), { code: 'USAGE' })
  const missing = join(directory, 'missing')
  await t.rejects(readEnvFiles([missing]), { code: 'FILE_NOT_FOUND', message: /no such file/ })
  await t.rejects(readEnvFiles([directory]), { code: 'FILE_NOT_FOUND', message: /EISDIR/ })
})

t.test('parseEntrypoint()', async (t) => {
  t.strictSame(parseEntrypoint('/bin/a b'), ['/bin/a b'])
  t.strictSame(parseEntrypoint('["/bin/a","b"]'), ['/bin/a', 'b'])
  t.strictSame(parseEntrypoint(''), [])
  refuse(t, parseEntrypoint, ['[', '["a", 1]'])
})

t.test('parseAnnotations(), parseHostname(), parseCpus(), parsePidsLimit()', async (t) => {
  t.strictSame(
    parseAnnotations(['a=b=c', 'd=']),
    new Map([
      ['a', 'b=c'],
      ['d', ''],
    ]),
  )
  refuse(t, (text) => parseAnnotations([text]), ['', 'a', '=b'])
  t.equal(parseHostname('a-1.example'), 'a-1.example')
  refuse(t, parseHostname, ['', '-a', 'a b', 'a\n', 'a'.repeat(65), 'ü'])
  t.equal(parseCpus('1.5'), 1.5)
  refuse(t, parseCpus, ['', '0', '-1', '1e3', '0.001', 'x'])
  t.equal(parsePidsLimit('-1'), -1)
  t.equal(parsePidsLimit('100'), 100)
  refuse(t, parsePidsLimit, ['', '0', '-2', '1.5'])
})
