import t from 'tap'
import { formatRegistryName, parseRegistryName } from '../../src/reference/registry-name.js'
import { isSameName, normalizeName } from '../../src/reference/reference.js'

const HEX = 'b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c'
const DIGEST = `sha256:${HEX}`

const NORMAL: [string, string][] = [
  ['busybox', 'docker.io/library/busybox:latest'],
  ['busybox:1.36', 'docker.io/library/busybox:1.36'],
  ['library/busybox', 'docker.io/library/busybox:latest'],
  ['docker.io/busybox', 'docker.io/library/busybox:latest'],
  ['index.docker.io/busybox:x', 'docker.io/library/busybox:x'],
  ['index.docker.io/library/busybox', 'docker.io/library/busybox:latest'],
  ['user/app', 'docker.io/user/app:latest'],
  ['user/a/b', 'docker.io/user/a/b:latest'],
  ['docker.io/library/foo/bar', 'docker.io/library/foo/bar:latest'],
  ['test_com/foo', 'docker.io/test_com/foo:latest'],
  ['test.com', 'docker.io/library/test.com:latest'],
  ['test.com:5000', 'docker.io/library/test.com:5000'],
  ['test.com/foo', 'test.com/foo:latest'],
  ['test:5000/repo', 'test:5000/repo:latest'],
  ['test:5000/repo:tag', 'test:5000/repo:tag'],
  [`test:5000/repo@${DIGEST}`, `test:5000/repo@${DIGEST}`],
  [`test:5000/repo:tag@${DIGEST}`, `test:5000/repo:tag@${DIGEST}`],
  [`busybox@sha512:${HEX}${HEX}`, `docker.io/library/busybox@sha512:${HEX}${HEX}`],
  ['localhost/app', 'localhost/app:latest'],
  ['localhost:5000/app', 'localhost:5000/app:latest'],
  ['localhost', 'docker.io/library/localhost:latest'],
  ['Foo/bar', 'Foo/bar:latest'],
  ['192.168.1.1:5000/repo:5050', '192.168.1.1:5000/repo:5050'],
  ['[2001:db8::1]/repo', '[2001:db8::1]/repo:latest'],
  ['[2001:db8::1]:5000/repo:tag', '[2001:db8::1]:5000/repo:tag'],
  ['xn--n3h.com/myimage:xn--n3h.com', 'xn--n3h.com/myimage:xn--n3h.com'],
  ['b.gcr.io/test.example.com/my-app:x.y', 'b.gcr.io/test.example.com/my-app:x.y'],
  ['a__b/c---d.e_f', 'docker.io/a__b/c---d.e_f:latest'],
  ['lowercase:Uppercase', 'docker.io/library/lowercase:Uppercase'],
  [`x:${'t'.repeat(128)}`, `docker.io/library/x:${'t'.repeat(128)}`],
  [`docker.io/${HEX}`, `docker.io/library/${HEX}:latest`],
  [HEX.slice(1), `docker.io/library/${HEX.slice(1)}:latest`],
]
for (const [name, normal] of NORMAL) {
  t.test(
    `normalizeName() writes ${name.slice(0, 60)} in full (E-001 to E-007, D-013)`,
    async (t) => {
      t.equal(normalizeName(name), normal)
      t.equal(normalizeName(normal), normal)
      t.equal(formatRegistryName(parseRegistryName(name)), normal)
    },
  )
}

const REFUSED: [string, string, RegExp][] = [
  ['nothing', '', /the repository is missing$/],
  ['an image id (E-004)', HEX, /it is an image id, not a name$/],
  ['a tag alone', ':tag', /the repository is missing$/],
  ['a digest alone', `@${DIGEST}`, /the repository is missing$/],
  ['a domain alone', 'test.com/', /the repository is missing$/],
  ['upper case (E-005)', 'Busybox', /the repository "Busybox" must be in lower case$/],
  ['upper case behind a domain (E-005)', 'test.com/Foo/bar', /must be in lower case$/],
  ['a doubled slash', 'a//b', /"a\/\/b" is not the name of a repository$/],
  ['a leading hyphen', '-a/b', /is not the name of a repository$/],
  ['a trailing hyphen', 'a-/b', /is not the name of a repository$/],
  ['three underscores', 'a___b', /is not the name of a repository$/],
  ['two dots', 'a..b/c', /"a\.\.b" is not a host name$/],
  ['a path that climbs', '../etc', /"\.\." is not a host name$/],
  ['a URL', 'https://example.com/x', /"https:" is not a host name$/],
  ['a zone in an address', '[fe80::1%eth0]:5000/x', /is not a host name$/],
  ['an address without brackets', 'fc00::1:5000/x', /is not a host name$/],
  ['an address alone', '[fc00::1]', /is not the name of a repository$/],
  ['an empty port', 'host:/x', /"host:" is not a host name$/],
  ['an empty tag (E-006)', 'a:', /"" is not a tag$/],
  ['a tag that begins with a dot (E-006)', 'a:.x', /"\.x" is not a tag$/],
  ['a tag of 129 characters (E-006)', `a:${'t'.repeat(129)}`, /is not a tag$/],
  ['two tags', 'a:b:c', /"b:c" is not a tag$/],
  [
    'a short digest (E-008)',
    `a@${DIGEST.slice(0, -1)}`,
    /the digest is wrong: sha256 needs exactly 64/,
  ],
  ['a digest without algorithm (E-008)', `a@${HEX}`, /the digest is wrong: /],
  ['two digests', `a@${DIGEST}@${DIGEST}`, /the digest is wrong: /],
  [
    'a digest that cannot be verified (E-008)',
    'a@md5:00',
    /only sha256 and sha512 can be verified$/,
  ],
  ['more than 255 characters (E-005)', 'a/'.repeat(128) + 'a', /longer than 255 characters$/],
  [
    'the form of rkt, with a hint (E-011, H-041)',
    'example.com/org/app,version=v1.0.0',
    /write "example\.com\/org\/app:v1\.0\.0"/,
  ],
  ['a space', 'a b', /is not the name of a repository$/],
  ['a newline', 'a\n', /"a\\x0a"/],
]
for (const [name, text, message] of REFUSED) {
  t.test(`parseRegistryName() refuses ${name}`, async (t) => {
    t.throws(() => parseRegistryName(text), { code: 'REFERENCE_INVALID', message })
  })
}

t.test('parseRegistryName() gives the parts', async (t) => {
  t.strictSame(parseRegistryName(`host:1/a/b:c@${DIGEST}`), {
    domain: 'host:1',
    repository: 'a/b',
    tag: 'c',
    digest: DIGEST,
  })
  t.strictSame(parseRegistryName('busybox'), {
    domain: 'docker.io',
    repository: 'library/busybox',
    tag: 'latest',
  })
  t.strictSame(parseRegistryName(`busybox@${DIGEST}`), {
    domain: 'docker.io',
    repository: 'library/busybox',
    digest: DIGEST,
  })
})

t.test('isSameName() compares the full forms, and other names as they are (D-013)', async (t) => {
  t.ok(isSameName('busybox', 'docker.io/library/busybox:latest'))
  t.ok(isSameName('Not A Name', 'Not A Name'))
  t.notOk(isSameName('busybox', 'busybox:1'))
  t.notOk(isSameName('Not A Name', 'busybox'))
  t.notOk(isSameName('quay.io/library/busybox', 'busybox'))
})
