// The rows C-025 to C-031, C-040 to C-053 and S-06 to S-09 of the checklist.

import t from 'tap'
import { resolveUser } from '../../src/bundle/user.js'
import {
  char,
  dir,
  fifo,
  file,
  hardlink,
  sparse,
  symlink,
  type LayerPart,
} from '../helpers/build-layer.js'
import { imageTree } from '../helpers/bundle-input.js'

const PASSWD = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:7:daemon:/usr/sbin:/usr/sbin/nologin

  padded:x:40:41::/padded:  \t
short:x:50:51
1000:x:0:0:a trap:/trap:/bin/sh
app:x:1000:1001::/home/app:/bin/sh
app:x:2000:2001::/second:/bin/sh
#comment:x:60:61::/c:
wordy:x:abc:0::/:
huge:x:4294967296:0::/:
badgroup:x:70:0x0::/:
nouid:x::0::/:
relative:x:80:80::home:
`
const GROUP = `root:x:0:root
# app:x:9:app
daemon:x:7:
adm:x:4:daemon,app
staff:x:50:app,root
twice:x:50:app
badgid:x:huge:nobody
number:x:2147483648:
alone:x:5
`
const FILES = [dir('etc'), file('etc/passwd', PASSWD), file('etc/group', GROUP)]

interface Case {
  readonly row: string
  readonly spec: string
  readonly want: readonly [uid: number, gid: number, groups: readonly number[], home?: string]
}

const CASES: readonly Case[] = [
  { row: 'C-030', spec: '', want: [0, 0, [0, 50], '/root'] },
  { row: 'C-031 user', spec: 'daemon', want: [1, 7, [7, 4], '/usr/sbin'] },
  { row: 'C-031 uid', spec: '1', want: [1, 7, [7, 4], '/usr/sbin'] },
  { row: 'C-031 user:group', spec: 'daemon:adm', want: [1, 4, [4], '/usr/sbin'] },
  { row: 'C-031 uid:gid', spec: '1000:1234', want: [1000, 1234, [1234], '/home/app'] },
  { row: 'C-031 uid:group', spec: '1:adm', want: [1, 4, [4], '/usr/sbin'] },
  { row: 'C-031 user:gid', spec: 'daemon:99', want: [1, 99, [99], '/usr/sbin'] },
  { row: 'C-025', spec: '1000:1001', want: [1000, 1001, [1001], '/home/app'] },
  { row: 'C-028', spec: '1000', want: [1000, 1001, [1001, 4, 50], '/home/app'] },
  { row: 'C-040 empty user', spec: ':adm', want: [0, 4, [4], '/root'] },
  { row: 'C-040 empty group', spec: 'root:', want: [0, 0, [0, 50], '/root'] },
  { row: 'C-041 blanks', spec: 'padded', want: [40, 41, [41], '/padded'] },
  { row: 'C-041 fewer fields', spec: 'short', want: [50, 51, [51]] },
  { row: 'C-041 no comment', spec: '#comment', want: [60, 61, [61], '/c'] },
  { row: 'C-043 first match', spec: 'app', want: [1000, 1001, [1001, 4, 50], '/home/app'] },
  { row: 'C-044', spec: '12345', want: [12345, 0, [0]] },
  { row: 'C-044 padded number', spec: '007', want: [7, 0, [0]] },
  {
    row: 'C-045 largest',
    spec: '2147483647:2147483647',
    want: [2147483647, 2147483647, [2147483647]],
  },
  { row: 'C-046', spec: 'root:60000', want: [0, 60000, [60000], '/root'] },
  { row: 'C-049 no path', spec: 'relative', want: [80, 80, [80]] },
]

t.test('resolveUser() finds the six forms', async (t) => {
  for (const { row, spec, want } of CASES) {
    const [uid, gid, additionalGids, home] = want
    const got = await resolveUser(imageTree(...FILES), spec, 'image')
    t.strictSame(got, { uid, gid, additionalGids, home }, `${row} ${spec}`)
  }
})

t.test('resolveUser() never takes what is wrong for root', async (t) => {
  const wrong: readonly (readonly [row: string, spec: string, why: RegExp])[] = [
    ['C-029', 'nosuchuser', /no such user/],
    ['C-029 group', 'root:nosuchgroup', /no group "nosuchgroup"/],
    ['C-040', 'a:b:c', /more than two parts/],
    ['C-042 uid', 'wordy', /line 10 of \/etc\/passwd.*its uid "abc"/],
    ['C-042 gid', 'badgroup', /its gid "0x0"/],
    ['C-042 empty', 'nouid', /its uid ""/],
    ['C-042 group', 'root:badgid', /line 7 of \/etc\/group.*its gid "huge"/],
    ['C-045', '4294967296', /no number from 0 to 2147483647/],
    ['C-045', '2147483648', /no number from 0/],
    ['C-045', '-1', /"-1" is no number/],
    ['C-045', '+0', /no number from 0/],
    ['C-045', '99999999999999999999', /no number from 0/],
    ['C-045 gid', '0:4294967296', /no number from 0/],
    ['C-045 in the file', 'huge', /its uid "4294967296"/],
    ['C-045 in the file', 'root:number', /its gid "2147483648"/],
  ]
  const tree = imageTree(...FILES)
  for (const [row, spec, message] of wrong) {
    await t.rejects(
      resolveUser(tree, spec, 'image'),
      { code: 'IMAGE_INVALID', message },
      `${row} ${spec}`,
    )
  }
  await t.rejects(resolveUser(tree, 'nosuch', 'option'), { code: 'USER_NOT_FOUND' })
  await t.rejects(resolveUser(tree, '0:nosuch', 'option'), { code: 'USER_NOT_FOUND' })
  await t.rejects(resolveUser(tree, '2147483648', 'option'), { code: 'USAGE' })
})

t.test('resolveUser() refuses a membership whose gid is malformed', async (t) => {
  const tree = imageTree(file('etc/passwd', PASSWD), file('etc/group', 'x:x:-1:app\n'))
  await t.rejects(resolveUser(tree, 'app', 'image'), { code: 'IMAGE_INVALID', message: /"-1"/ })
  t.strictSame((await resolveUser(tree, 'app:3', 'image')).gid, 3, 'the line does not count here')
})

t.test('resolveUser() does without files for numbers alone (C-053)', async (t) => {
  const tree = imageTree()
  const root = { uid: 0, gid: 0, additionalGids: [0], home: undefined }
  t.strictSame(await resolveUser(tree, '', 'image'), root)
  t.strictSame(await resolveUser(tree, '5:6', 'image'), {
    ...root,
    uid: 5,
    gid: 6,
    additionalGids: [6],
  })
  await t.rejects(resolveUser(tree, 'root', 'image'), { code: 'IMAGE_INVALID' })
})

t.test('resolveUser() follows links inside the image only (C-050, S-06)', async (t) => {
  const inside = (target: string): readonly LayerPart[] => [
    dir('nix/store'),
    file('nix/store/passwd', 'inner:x:123:124::/inner:\n'),
    symlink('etc/passwd', target),
  ]
  for (const target of ['/nix/store/passwd', '../../../../nix/store/passwd']) {
    const { uid } = await resolveUser(imageTree(...inside(target)), 'inner', 'image')
    t.equal(uid, 123, target)
  }
  const own = imageTree(symlink('etc/passwd', '/etc/passwd'))
  await t.rejects(resolveUser(own, 'root', 'image'), { message: /no such user/ })
  const host = imageTree(symlink('etc/passwd', '../../../../../../../../proc/1/root/etc/passwd'))
  await t.rejects(resolveUser(host, 'root', 'image'), { message: /no such user/ })
  const linked = imageTree(file('a', 'x:x:8:9::/:\n'), hardlink('etc/passwd', 'a'))
  t.equal((await resolveUser(linked, 'x', 'image')).uid, 8)
})

t.test('resolveUser() refuses what is no regular file (C-051)', async (t) => {
  const odd: readonly LayerPart[] = [
    fifo('etc/passwd'),
    dir('etc/passwd'),
    char('etc/passwd', 1, 5),
  ]
  for (const part of odd) {
    await t.rejects(resolveUser(imageTree(part), '1', 'image'), {
      code: 'IMAGE_INVALID',
      message: 'Cannot read /etc/passwd of the image: it is not a regular file',
    })
  }
  const group = imageTree(file('etc/passwd', PASSWD), fifo('etc/group'))
  await t.rejects(resolveUser(group, 'app', 'image'), { message: /\/etc\/group.*not a regular/ })
})

t.test('resolveUser() reads no more than it must (C-052, S-07)', async (t) => {
  const giant = imageTree(sparse('etc/passwd', 2 ** 30, []))
  await t.rejects(resolveUser(giant, '1', 'image'), {
    code: 'LIMIT_EXCEEDED',
    message: /1073741824 bytes/,
  })
  const line = imageTree(file('etc/passwd', `${'x'.repeat(65_537)}\nroot:x:0:0::/:\n`))
  await t.rejects(resolveUser(line, 'root', 'image'), { code: 'LIMIT_EXCEEDED', message: /line 1/ })
  const list = Array.from({ length: 30_000 }, (_, index) => `u${index}`).join(',')
  const long = imageTree(file('etc/passwd', 'u9:x:9:9::/:\n'), file('etc/group', `g:x:1:${list}\n`))
  t.strictSame((await resolveUser(long, 'u9', 'image')).additionalGids, [9, 1])
  const many = Array.from({ length: 65_537 }, (_, index) => `g:x:${index}:u`).join('\n')
  const groups = imageTree(file('etc/passwd', 'u:x:9:9::/:\n'), file('etc/group', many))
  await t.rejects(resolveUser(groups, 'u', 'image'), { code: 'LIMIT_EXCEEDED' })
})
