import { execFileSync } from 'node:child_process'
import t from 'tap'
import { isOcimountError } from '../../src/errors.js'
import {
  chainIds,
  createDigestHash,
  digestAlgorithm,
  digestHex,
  digestOf,
  finishDigest,
  isSupportedDigest,
  parseDigest,
  verifyDigest,
} from '../../src/image/digest.js'

const HEX = 'b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c'
const VALID = [
  `sha256:${HEX}`,
  `sha512:${HEX}${HEX}`,
  `blake3:${HEX}`,
  'sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564',
  'multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8',
  'sha384:short',
  'a.b_c-d+e:=_-',
]
const INVALID: Record<string, string> = {
  'an empty string': '',
  'no algorithm': `:${HEX}`,
  'no encoded part': 'sha256:',
  'no colon': HEX,
  'an upper-case algorithm (A-039)': `SHA256:${HEX}`,
  'upper-case hex (A-033)': `sha256:${HEX.toUpperCase()}`,
  '63 digits (A-033)': `sha256:${HEX.slice(1)}`,
  '65 digits (A-033)': `sha256:${HEX}0`,
  'a digit that is not hex': `sha256:g${HEX.slice(1)}`,
  '64 digits of sha512 (A-034)': `sha512:${HEX}`,
  'upper-case sha512 (A-034)': `sha512:${(HEX + HEX).toUpperCase()}`,
  '63 digits of blake3 (A-035)': `blake3:${HEX.slice(1)}`,
  'a path that climbs (A-055)': 'sha256:../../etc/passwd',
  'a slash in the algorithm (A-055)': `../sha256:${HEX}`,
  'a dotted algorithm (A-055)': `..:${HEX}`,
  'a dotted encoded part (A-055)': 'other:..',
  'a doubled separator': 'sha256++b64:abc',
  'a trailing newline': `sha256:${HEX}\n`,
  'a leading space': ` sha256:${HEX}`,
  'a NUL': `sha256:${HEX.slice(1)}\0`,
  'a name longer than a path can be': `other:${'a'.repeat(300)}`,
}

for (const text of VALID) {
  t.test(`parseDigest() accepts ${text.slice(0, 40)} (A-032, A-038)`, async (t) => {
    t.equal(parseDigest(text), text)
  })
}
for (const [name, text] of Object.entries(INVALID)) {
  t.test(`parseDigest() refuses ${name}`, async (t) => {
    t.throws(() => parseDigest(text), { code: 'IMAGE_INVALID', message: /^Cannot use digest "/ })
  })
}

t.test('parseDigest() shows a hostile digest escaped and cut', async (t) => {
  try {
    parseDigest(`\u001b[31m${'x'.repeat(5000)}`)
    t.fail('no error')
  } catch (error) {
    t.ok(isOcimountError(error, 'IMAGE_INVALID'))
    t.match(String(error), /\\x1b\[31m/)
    t.ok(String(error).length < 300)
  }
})

t.test('digestAlgorithm() and digestHex() split at the colon', async (t) => {
  const digest = parseDigest('sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564')
  t.equal(digestAlgorithm(digest), 'sha256+b64u')
  t.equal(digestHex(digest), 'LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564')
})

t.test('isSupportedDigest() holds for sha256 and sha512 alone (A-036, A-037, A-038)', async (t) => {
  t.strictSame(
    VALID.map((text) => isSupportedDigest(parseDigest(text))),
    [true, true, false, false, false, false, false],
  )
})

for (const algorithm of ['sha256', 'sha512']) {
  t.test(`digestOf() agrees with ${algorithm}sum (A-036, A-037)`, async (t) => {
    const bytes = Buffer.from('foo\n\0\xff', 'latin1')
    const output = execFileSync(`${algorithm}sum`, { input: bytes, encoding: 'latin1' })
    t.equal(digestOf(bytes, algorithm), `${algorithm}:${output.split(' ')[0] ?? ''}`)
  })
}

t.test('finishDigest() names what a running hash has seen', async (t) => {
  const hash = createDigestHash(`sha512:${HEX}${HEX}`)
  hash.update('fo').update('o\n')
  t.equal(finishDigest(hash, 'sha512'), digestOf(Buffer.from('foo\n'), 'sha512'))
})

t.test('createDigestHash() names the algorithm that it does not know (A-038)', async (t) => {
  for (const name of ['md5', 'sha1', 'blake3', 'sha384', 'constructor', 'other:abc', '']) {
    t.throws(() => createDigestHash(name), { code: 'IMAGE_UNSUPPORTED', message: /algorithm "/ })
  }
})

t.test(
  'verifyDigest() passes the right bytes and says what the wrong ones hash to (A-045)',
  async (t) => {
    const bytes = Buffer.from('foo\n')
    const expected = parseDigest(`sha256:${HEX}`)
    verifyDigest(bytes, expected, 'manifest')
    const wrong = Buffer.from('fop\n')
    t.throws(
      () => {
        verifyDigest(wrong, expected, 'manifest')
      },
      {
        code: 'DIGEST_MISMATCH',
        message: `Cannot use manifest: its digest is ${digestOf(wrong)} instead of ${expected}`,
        details: { expected, actual: digestOf(wrong) },
      },
    )
  },
)

t.test('chainIds() hashes the chain below and the DiffID as text (A-125)', async (t) => {
  const [a, b, c] = ['a', 'b', 'c'].map((text) => digestOf(Buffer.from(text)))
  const shell = (text: string): string =>
    execFileSync('sha256sum', { input: text, encoding: 'latin1' }).split(' ')[0] ?? ''
  const ab = `sha256:${shell(`${a} ${b}`)}`
  const abc = `sha256:${shell(`${ab} ${c}`)}`
  t.strictSame(chainIds([a!, b!, c!]), [a, ab, abc])
  t.strictSame(chainIds([]), [])
})
