import t from 'tap'
import { crc32c } from '../../src/erofs/crc32c.js'

// RFC 3720, appendix B.4; there the result is inverted.
const cases: { name: string; bytes: Buffer; want: number }[] = [
  { name: 'zeros', bytes: Buffer.alloc(32), want: 0x8a9136aa },
  { name: 'ones', bytes: Buffer.alloc(32, 0xff), want: 0x62a8ab43 },
  {
    name: 'ascending',
    bytes: Buffer.from(Array.from({ length: 32 }, (_, i) => i)),
    want: 0x46dd794e,
  },
  { name: 'digits', bytes: Buffer.from('123456789'), want: 0xe3069283 },
  { name: 'nothing', bytes: Buffer.alloc(0), want: 0 },
]

for (const { name, bytes, want } of cases) {
  t.test(`crc32c() ${name}`, (t) => {
    t.equal(~crc32c(0xffffffff, bytes) >>> 0, want)
    t.end()
  })
}

t.test('crc32c() goes on from the value of an earlier part', (t) => {
  const bytes = Buffer.from('123456789')
  const first = crc32c(0xffffffff, bytes.subarray(0, 4))
  t.equal(crc32c(first, bytes.subarray(4)), crc32c(0xffffffff, bytes))
  t.end()
})
