import t from 'tap'
import { parseDigest } from '../../src/image/digest.js'
import { layoutBlobPath, parseLayoutHeader } from '../../src/image/layout.js'

const parse = (text: string): ReturnType<typeof parseLayoutHeader> =>
  parseLayoutHeader(Buffer.from(text))

t.test('parseLayoutHeader() accepts 1.0.0 and ignores other fields (A-141)', async (t) => {
  const want = { imageLayoutVersion: '1.0.0' }
  t.strictSame(parse('{"imageLayoutVersion": "1.0.0"}\n'), want)
  t.strictSame(parse('{"future":[1.5],"imageLayoutVersion":"1.0.0"}'), want)
})

t.test('parseLayoutHeader() names a version that it does not know (A-141)', async (t) => {
  t.throws(() => parse('{"imageLayoutVersion":"2.0.0"}'), {
    code: 'IMAGE_UNSUPPORTED',
    message: 'Cannot read image layout of version "2.0.0": only 1.0.0 is supported',
  })
  t.throws(() => parse('{"imageLayoutVersion":""}'), { code: 'IMAGE_UNSUPPORTED' })
})

for (const text of [
  '',
  '{}',
  '[]',
  '"1.0.0"',
  '{"imageLayoutVersion":1}',
  '{"imageLayoutVersion":1.0.0}',
  '{"imageLayoutVersion":null}',
  '{"ImageLayoutVersion":"1.0.0"}',
  '{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"1.0.0"}',
]) {
  t.test(`parseLayoutHeader() refuses ${text || 'an empty file'} (A-141)`, async (t) => {
    t.throws(() => parse(text), { code: 'IMAGE_INVALID', message: /^Cannot parse oci-layout: / })
  })
}

t.test('parseLayoutHeader() refuses a file that is much too large', async (t) => {
  t.throws(() => parse('{"imageLayoutVersion":"1.0.0"}'.padEnd(70_000)), { code: 'LIMIT_EXCEEDED' })
})

t.test('layoutBlobPath() is blobs/<algorithm>/<encoded> (A-143)', async (t) => {
  const hex = 'b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c'
  t.equal(layoutBlobPath(parseDigest(`sha256:${hex}`)), `blobs/sha256/${hex}`)
  t.equal(layoutBlobPath(parseDigest('a.b+c:X_-=')), 'blobs/a.b+c/X_-=')
})
