import t from 'tap'
import { parseDescriptor, verifyDescriptor, verifySize } from '../../src/image/descriptor.js'
import { digestOf, parseDigest } from '../../src/image/digest.js'
import { parseJson } from '../../src/image/json.js'
import { OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST } from '../../src/image/media-types.js'

const HEX = 'b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c'
const DIGEST = `sha256:${HEX}`
const BASE = { mediaType: OCI_MANIFEST, digest: DIGEST, size: 7 }
const PARSED = {
  mediaType: OCI_MANIFEST,
  digest: DIGEST,
  size: 7,
  annotations: new Map<string, string>(),
}

const parseText = (text: string): ReturnType<typeof parseDescriptor> =>
  parseDescriptor(parseJson(Buffer.from(text), 'test'), 'manifest: layers[3]')
const parse = (value: unknown): ReturnType<typeof parseDescriptor> =>
  parseText(JSON.stringify(value))

t.test('parseDescriptor() gives every field', async (t) => {
  const data = Buffer.from('{"a":1}')
  t.strictSame(
    parse({
      mediaType: OCI_CONFIG,
      digest: digestOf(data, 'sha512'),
      size: data.length,
      urls: ['https://example.com/a', 'http://b/'],
      annotations: { k: 'v', empty: '' },
      data: data.toString('base64'),
      platform: {
        os: 'Linux',
        architecture: 'arm',
        variant: 'v7',
        'os.version': '1',
        'os.features': ['f'],
        features: ['reserved'],
      },
      artifactType: 'application/vnd.example+type',
    }),
    {
      mediaType: OCI_CONFIG,
      digest: digestOf(data, 'sha512'),
      size: data.length,
      urls: ['https://example.com/a', 'http://b/'],
      annotations: new Map([
        ['k', 'v'],
        ['empty', ''],
      ]),
      data,
      platform: {
        os: 'Linux',
        architecture: 'arm',
        variant: 'v7',
        osVersion: '1',
        osFeatures: ['f'],
      },
      artifactType: 'application/vnd.example+type',
    },
  )
})

const ACCEPTED: Record<string, unknown> = {
  'the required fields alone (A-030)': {},
  'unknown fields (A-064)': { future: { x: [1.5e300, null] }, Layers: [] },
  'null for every optional field (A-070)': {
    urls: null,
    annotations: null,
    data: null,
    platform: null,
    artifactType: null,
  },
  'what Go writes for empty fields': { urls: [], annotations: {}, artifactType: '' },
  'urls of other schemes, which are ignored (A-049)': {
    urls: ['file:///etc/passwd', 'ftp://example.com/x', 'urn:oid:1.2', 'javascript:alert(1)'],
  },
  'a platform that says nothing (A-088)': undefined,
}
for (const [name, extra] of Object.entries(ACCEPTED)) {
  if (extra === undefined) continue
  t.test(`parseDescriptor() accepts ${name}`, async (t) => {
    t.strictSame(parse({ ...BASE, ...extra }), PARSED)
  })
}

const REFUSED: [string, Record<string, unknown>, RegExp][] = [
  ['a missing mediaType (A-030)', { mediaType: undefined }, /layers\[3\]\.mediaType is missing$/],
  ['a missing digest (A-030)', { digest: undefined }, /layers\[3\]\.digest is missing$/],
  ['a missing size (A-030)', { size: undefined }, /layers\[3\]\.size is missing$/],
  ['null for a required field (A-070)', { size: null }, /size is missing$/],
  ['a mediaType without a subtype (A-031)', { mediaType: 'a/' }, /mediaType is "a\/"/],
  ['a mediaType with a parameter (A-031)', { mediaType: 'a/b; c=d' }, /not a media type/],
  ['an empty mediaType (A-031)', { mediaType: '' }, /not a media type/],
  ['a digest that is no text', { digest: 5 }, /digest must be a string, not a number$/],
  ['a digest that climbs (A-055)', { digest: 'sha256:../../../etc' }, /algorithm:encoded$/],
  ['an upper-case digest (A-033)', { digest: `sha256:${HEX.toUpperCase()}` }, /64 lower-case/],
  ['an upper-case algorithm (A-039)', { digest: `SHA256:${HEX}` }, /algorithm:encoded$/],
  ['a size as text (A-040)', { size: '7' }, /size must be an integer, not a string$/],
  ['a fractional size (A-040)', { size: 1.5 }, /size must be an integer, not the number 1\.5$/],
  ['a negative size (A-041)', { size: -1 }, /size is negative$/],
  [
    'an annotation that is no text (A-051)',
    { annotations: { k: 1 } },
    /annotations\.k must be a s/,
  ],
  ['annotations that are a list (A-051)', { annotations: [] }, /annotations must be an object/],
  ['urls that are text', { urls: 'https://x' }, /urls must be an array, not a string$/],
  ['a url that is no URI (A-049)', { urls: ['value'] }, /urls\[0\] is "value"/],
  ['a url with a space (A-049)', { urls: ['http://a b/'] }, /not a URI$/],
  ['a url without a host (A-049)', { urls: ['http://'] }, /not a URL$/],
  ['an artifactType that is no media type (A-052)', { artifactType: 'x' }, /artifactType is "x"/],
  ['a platform that is text', { platform: 'linux' }, /platform must be an object/],
  [
    'an os that is a number',
    { platform: { os: 1, architecture: 'x' } },
    /platform\.os must be a st/,
  ],
  [
    'os.features that is text',
    { platform: { os: 'l', architecture: 'x', 'os.features': 'a' } },
    /an ar/,
  ],
  ['data without padding (A-047)', { size: 1, data: 'YQ' }, /data is not padded base64$/],
  ['data of the url-safe alphabet (A-047)', { size: 3, data: '-_-_' }, /not padded base64$/],
  ['data with a newline (A-047)', { size: 3, data: 'YWJj\n' }, /not padded base64$/],
  ['Digest beside digest (A-062)', { Digest: DIGEST }, /has "Digest", which differs from "digest"/],
  ['mediatype for mediaType (A-062)', { mediatype: OCI_CONFIG }, /only in case$/],
  ['a long s in "size" (A-062)', { '\u017fize': 8 }, /differs from "size" only in case$/],
]
for (const [name, extra, message] of REFUSED) {
  t.test(`parseDescriptor() refuses ${name}`, async (t) => {
    t.throws(() => parse({ ...BASE, ...extra }), { code: 'IMAGE_INVALID', message })
  })
}

t.test('parseDescriptor() refuses anything but an object', async (t) => {
  for (const value of [null, true, 7, 'x', [], [BASE]]) {
    t.throws(() => parse(value), {
      code: 'IMAGE_INVALID',
      message: /layers\[3\] must be an object/,
    })
  }
})

for (const size of ['7e0', '7.0', '0.7e1', '9007199254740993', '9223372036854775807', '1e400']) {
  t.test(`parseDescriptor() refuses the size ${size} (A-040, A-042)`, async (t) => {
    const text = JSON.stringify(BASE).replace(/"size":7/, `"size":${size}`)
    t.throws(() => parseText(text), { code: 'IMAGE_INVALID', message: /layers\[3\]\.size / })
  })
}

t.test('parseDescriptor() takes sizes up to the last exact integer (A-042, A-116)', async (t) => {
  for (const size of [0, 1, Number.MAX_SAFE_INTEGER]) t.equal(parse({ ...BASE, size }).size, size)
  t.equal(parseText(JSON.stringify({ ...BASE }).replace('"size":7', '"size":-0')).size, 0)
})

t.test(
  'parseDescriptor() names the digest algorithm of every entry by itself (A-037, A-054)',
  async (t) => {
    const digest = `sha512:${HEX}${HEX}`
    t.equal(parse({ ...BASE, digest }).digest, digest)
  },
)

t.test(
  'parseDescriptor() checks embedded data against size and digest (A-047, A-048)',
  async (t) => {
    const data = Buffer.from('hello')
    const good = { ...BASE, size: 5, digest: digestOf(data), data: data.toString('base64') }
    t.strictSame(parse(good).data, data)
    t.throws(() => parse({ ...good, size: 6 }), { code: 'SIZE_MISMATCH' })
    t.throws(() => parse({ ...good, data: Buffer.from('hellO').toString('base64') }), {
      code: 'DIGEST_MISMATCH',
      message: /^Cannot use manifest: layers\[3\]\.data: its digest is /,
    })
    t.strictSame(
      parse({ ...BASE, size: 0, digest: digestOf(Buffer.alloc(0)), data: '' }).data?.length,
      0,
    )
  },
)

t.test('parseDescriptor() leaves out data that cannot be verified (A-038, A-047)', async (t) => {
  t.strictSame(parse({ ...BASE, digest: 'other:abc', size: 1, data: 'YQ==' }), {
    ...PARSED,
    digest: 'other:abc',
    size: 1,
  })
})

t.test(
  'parseDescriptor() keeps annotations that name prototypes apart from objects (A-065)',
  async (t) => {
    const text = JSON.stringify(BASE).replace(
      '{',
      '{"annotations":{"__proto__":"x","constructor":"y"},',
    )
    const { annotations } = parseText(text)
    t.strictSame(
      [...annotations],
      [
        ['__proto__', 'x'],
        ['constructor', 'y'],
      ],
    )
    t.notOk('x' in {})
  },
)

t.test('parseDescriptor() escapes what it shows', async (t) => {
  t.throws(() => parse({ ...BASE, annotations: { '\u001b[2J': 1 } }), {
    message:
      'Cannot parse manifest: layers[3].annotations["\\x1b[2J"] must be a string, not a number',
  })
})

t.test('verifyDescriptor() looks at the size before the digest (A-043 to A-045)', async (t) => {
  const bytes = Buffer.from('{"truncated":')
  const descriptor = { ...parse({ ...BASE, size: bytes.length }), digest: digestOf(bytes) }
  verifyDescriptor(bytes, descriptor, 'config')
  const verify = (actual: Buffer) => () => {
    verifyDescriptor(actual, descriptor, 'config')
  }
  t.throws(verify(Buffer.concat([bytes, bytes])), {
    code: 'SIZE_MISMATCH',
    message: 'Cannot use config: it has 26 bytes instead of 13',
    details: { expected: 13, actual: 26 },
  })
  t.throws(verify(bytes.subarray(1)), { code: 'SIZE_MISMATCH' })
  t.throws(verify(Buffer.from('{"truncateD":')), { code: 'DIGEST_MISMATCH' })
})

t.test('verifyDescriptor() names an algorithm that it cannot compute (A-038)', async (t) => {
  const descriptor = { ...parse({ ...BASE, size: 0 }), digest: parseDigest('sha256+b64u:abc') }
  t.throws(
    () => {
      verifyDescriptor(Buffer.alloc(0), descriptor, 'layer 1')
    },
    { code: 'IMAGE_UNSUPPORTED', message: /"sha256\+b64u"/ },
  )
})

t.test('verifySize() takes equal sizes alone (A-043)', async (t) => {
  verifySize(3, 3, OCI_LAYER_GZIP)
  t.throws(
    () => {
      verifySize(3, 4, 'layer 2')
    },
    { code: 'SIZE_MISMATCH' },
  )
})
