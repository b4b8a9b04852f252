import t from 'tap'
import {
  joinXattrName,
  splitXattrName,
  xattrProblem,
  xattrValueToStore,
} from '../../src/erofs/xattr-name.js'
import { name } from '../helpers/erofs-tree.js'

const splits: { full: string; index: number; suffix: string }[] = [
  { full: 'user.a', index: 1, suffix: 'a' },
  { full: 'user.system.posix_acl_access', index: 1, suffix: 'system.posix_acl_access' },
  { full: 'system.posix_acl_access', index: 2, suffix: '' },
  { full: 'system.posix_acl_default', index: 3, suffix: '' },
  { full: 'trusted.overlay.opaque', index: 4, suffix: 'overlay.opaque' },
  { full: 'security.capability', index: 6, suffix: 'capability' },
]

for (const { full, index, suffix } of splits) {
  t.test(`splitXattrName() ${full}`, (t) => {
    t.strictSame(splitXattrName(name(full)), { index, suffix: name(suffix) })
    t.equal(joinXattrName(index, name(suffix)), full)
    t.end()
  })
}

t.test('joinXattrName() gives undefined for a number that is not in use', (t) => {
  for (const index of [0, 5, 7, 0x81]) t.equal(joinXattrName(index, name('a')), undefined)
  t.end()
})

const HEADER = '02000000'
const USER_OBJ = '01000700ffffffff'
const USER_1000 = '02000500e8030000'
const OTHER = '20000500ffffffff'

const problems: { full: string; value: Buffer; want: RegExp | undefined }[] = [
  { full: 'user.a', value: Buffer.alloc(65_535), want: undefined },
  { full: 'user.a', value: Buffer.alloc(65_536), want: /value is longer/ },
  { full: `user.${'n'.repeat(250)}`, value: Buffer.alloc(0), want: undefined },
  { full: `user.${'n'.repeat(251)}`, value: Buffer.alloc(0), want: /name is longer/ },
  { full: 'user.', value: Buffer.alloc(0), want: /no such name prefix/ },
  { full: 'user', value: Buffer.alloc(0), want: /no such name prefix/ },
  { full: 'system.nfs4_acl', value: Buffer.alloc(0), want: /no such name prefix/ },
  { full: 'system.posix_acl_accessible', value: Buffer.alloc(0), want: /no such name prefix/ },
  { full: 'lustre.a', value: Buffer.alloc(0), want: /no such name prefix/ },
  { full: 'user.a\0b', value: Buffer.alloc(0), want: /NUL/ },
  { full: 'system.posix_acl_access', value: Buffer.alloc(0), want: /access control list/ },
  { full: 'system.posix_acl_access', value: hex(HEADER), want: /access control list/ },
  { full: 'system.posix_acl_access', value: hex(HEADER + USER_OBJ + OTHER), want: undefined },
  { full: 'system.posix_acl_default', value: hex(HEADER + USER_OBJ + USER_1000), want: undefined },
  { full: 'system.posix_acl_access', value: hex(HEADER + USER_OBJ + '00'), want: /access control/ },
  { full: 'system.posix_acl_access', value: hex('01000000' + USER_OBJ), want: /access control/ },
  {
    full: 'system.posix_acl_access',
    value: hex(HEADER + '0300070000000000'),
    want: /access control/,
  },
  {
    full: 'system.posix_acl_access',
    value: hex(HEADER + '02000700ffffffff'),
    want: /access control/,
  },
  { full: 'user.acl', value: hex('00'), want: undefined },
]

for (const { full, value, want } of problems) {
  t.test(`xattrProblem() ${JSON.stringify(full.slice(0, 40))} with ${value.length} bytes`, (t) => {
    const problem = xattrProblem(name(full), value)
    if (want === undefined) t.equal(problem, undefined)
    else t.match(problem, want)
    t.end()
  })
}

t.test('xattrValueToStore() blanks what the kernel ignores of an access control list', (t) => {
  const value = hex(HEADER + '0100070001020304' + USER_1000)
  t.strictSame(xattrValueToStore(2, value), hex(HEADER + USER_OBJ + USER_1000))
  t.strictSame(value, hex(HEADER + '0100070001020304' + USER_1000), 'the input is as it was')
  t.equal(xattrValueToStore(1, value), value)
  t.end()
})

function hex(digits: string): Buffer {
  return Buffer.from(digits, 'hex')
}
