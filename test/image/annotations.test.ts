import t from 'tap'
import {
  isRefName,
  STANDARD_ANNOTATIONS,
  standardAnnotations,
} from '../../src/image/annotations.js'

const OCI = 'org.opencontainers.image.'
const SCHEMA = 'org.label-schema.'

t.test(
  'standardAnnotations() gives all that are predefined in a fixed order (A-166, A-168)',
  async (t) => {
    const all = [...STANDARD_ANNOTATIONS]
      .reverse()
      .map((name): [string, string] => [OCI + name, name])
    const found = standardAnnotations(new Map([...all, ['com.example.other', 'x'], ['title', 'y']]))
    t.strictSame(
      [...found],
      STANDARD_ANNOTATIONS.map((name) => [name, name]),
    )
  },
)

t.test('standardAnnotations() keeps empty values (A-165)', async (t) => {
  t.strictSame([...standardAnnotations(new Map([[`${OCI}title`, '']]))], [['title', '']])
  t.strictSame([...standardAnnotations(new Map())], [])
})

t.test('standardAnnotations() falls back to Label Schema (A-169)', async (t) => {
  const old = {
    'build-date': '2016',
    url: 'u',
    'vcs-url': 's',
    version: 'v',
    'vcs-ref': 'r',
    vendor: 'w',
    name: 'n',
    description: 'd',
    usage: 'https://example.com/usage',
    'schema-version': '1.0',
  }
  const labels = new Map(Object.entries(old).map(([key, value]) => [SCHEMA + key, value]))
  t.strictSame(Object.fromEntries(standardAnnotations(labels)), {
    title: 'n',
    description: 'd',
    version: 'v',
    revision: 'r',
    created: '2016',
    vendor: 'w',
    url: 'u',
    documentation: 'https://example.com/usage',
    source: 's',
  })
  labels.set(`${OCI}title`, 'new').set(`${SCHEMA}usage`, 'run it')
  t.equal(standardAnnotations(labels).get('title'), 'new')
  t.notOk(standardAnnotations(labels).has('documentation'))
})

t.test('isRefName() follows the grammar (A-154)', async (t) => {
  for (const good of [
    'latest',
    'v1.0',
    'docker.io/library/busybox:1',
    'a--b',
    'a@b',
    'a+b',
    'A/B_c',
    '1',
  ]) {
    t.ok(isRefName(good), good)
  }
  for (const bad of ['', '/', 'a/', '/a', '-a', 'a-', 'a---b', 'a..b', 'a b', 'a\n', 'a//b', 'é']) {
    t.notOk(isRefName(bad), bad)
  }
})
