import t from 'tap'
import type { ByteString } from '../../src/byte-string.js'
import { NO_PAX, parsePax } from '../../src/tar/pax.js'
import { paxBody } from '../helpers/build-tar.js'

const place = { path: 'who' as ByteString, headerOffset: 512 }
const parse = (body: string | Buffer): ReturnType<typeof parsePax> =>
  parsePax(typeof body === 'string' ? Buffer.from(body, 'latin1') : body, place)

t.test('parsePax() reads records of any length (B-104)', async (t) => {
  t.strictSame(parse(''), { ...NO_PAX, keys: [] })
  t.strictSame(parse('6 k=v\n'), { ...NO_PAX, keys: ['k'] })
  t.strictSame(parse('07 k=v\n').keys, ['k'])
  for (const length of [0, 1, 80, 81, 82, 83, 84, 85, 980, 981, 982, 9970, 9980, 99_970]) {
    const value = '='.repeat(length)
    t.equal(parse(paxBody({ path: value })).path, value, `${length} bytes`)
  }
})

t.test('parsePax() takes the last record of a key, and an empty one back (B-105)', async (t) => {
  const twice = [
    ['path', 'a'],
    ['uid', '1'],
    ['path', 'b'],
    ['uid', ''],
  ] as const
  t.match(parse(paxBody(twice)), { path: 'b', uid: '', keys: ['path', 'uid', 'path', 'uid'] })
})

t.test('parsePax() copies what it keeps', async (t) => {
  const body = paxBody({ 'SCHILY.xattr.user.a': 'value', path: 'p' })
  const records = parse(body)
  body.fill(0)
  t.strictSame([...(records.xattrs ?? [])], [['user.a', Buffer.from('value')]])
  t.equal(records.path, 'p')
})

t.test('parsePax() refuses malformed records and names the member (B-104)', async (t) => {
  const offsetRecord = paxBody({ 'GNU.sparse.offset': '9' }).toString()
  const cases: [what: string, body: string | Buffer, why: RegExp][] = [
    ['no length', ' path=x\n', /byte 0 has a wrong length/],
    ['no space', '10path=xxx\n', /length/],
    ['a sign', '+9 path=x\n', /length/],
    ['a letter', '0x9 path=x\n', /length/],
    ['too short', '8 path=x\n', /length/],
    ['too long', '99 path=x\n', /length/],
    ['zero', '0 path=x\n', /length/],
    ['within its own digits', '1 path=x\n', /length/],
    ['many digits', `${'0'.repeat(20)}9 path=x\n`, /length/],
    ['a number beyond all', '9999999999 path=x\n', /length/],
    ['no newline', '9 path=xy', /length/],
    ['padding behind', '9 path=x\n\0\0\0', /byte 9 has a wrong length/],
    ['second one bad', '9 path=x\n9 path=x', /byte 9 has a wrong length/],
    ['no "="', '9 path x\n', /byte 0 has no "="/],
    ['"=" in the next record alone', '9 path x\n9 path=x\n', /byte 0 has no "="/],
    ['NUL in a key', '9 pa\0h=x\n', /PAX key "pa\\x00h" has a NUL/],
    ['NUL in path', paxBody({ path: '\0x' }), /PAX record path has a NUL/],
    ['NUL in linkpath', paxBody({ linkpath: '\0x' }), /linkpath has a NUL/],
    ['NUL in uname', paxBody({ uname: '\0x' }), /uname has a NUL/],
    ['NUL in gname', paxBody({ gname: '\0x' }), /gname has a NUL/],
    ['sparse length first', paxBody({ 'GNU.sparse.numbytes': '9' }), /numbytes is out of turn/],
    ['two sparse offsets', offsetRecord.repeat(2), /offset is out of turn/],
  ]
  for (const [what, body, why] of cases) {
    t.throws(() => parse(body), { code: 'TAR_CORRUPT', message: why }, what)
    t.throws(() => parse(body), { message: /^Cannot read tar entry "who" at device offset 512: / })
  }
})
