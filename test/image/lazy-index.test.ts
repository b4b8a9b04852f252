import t from 'tap'
import { findLazyIndex } from '../../src/image/lazy-index.js'

const SHA = `sha256:${'ab'.repeat(32)}`
const STARGZ = 'containerd.io/snapshot/stargz/toc.digest'
const NEW = 'io.github.containers.zstd-chunked.manifest'
const OLD = 'io.containers.zstd-chunked.manifest'
const zstd = (prefix: string): Record<string, string> => ({
  [`${prefix}-checksum`]: SHA,
  [`${prefix}-position`]: '100:20:3000:1',
})
const position = { offset: 100, length: 20, jsonLength: 3000 }
const chunked = { index: { format: 'zstd:chunked', tocDigest: SHA, position } }

const CASES: { name: string; annotations: Record<string, string>; want: unknown }[] = [
  { name: 'nothing', annotations: { other: SHA }, want: undefined },
  {
    name: 'eStargz',
    annotations: { [STARGZ]: SHA },
    want: { index: { format: 'estargz', tocDigest: SHA } },
  },
  { name: 'zstd:chunked', annotations: zstd(NEW), want: chunked },
  { name: 'zstd:chunked of older writers', annotations: zstd(OLD), want: chunked },
  {
    name: 'zstd:chunked of stargz-snapshotter',
    annotations: { ...zstd(OLD), [STARGZ]: SHA },
    want: chunked,
  },
  {
    name: 'two at once (F-002)',
    annotations: { ...zstd(NEW), [STARGZ]: SHA },
    want: { isRefused: true },
  },
  {
    name: 'both names of zstd:chunked',
    annotations: { ...zstd(NEW), ...zstd(OLD) },
    want: { isRefused: true },
  },
  {
    name: 'no digest',
    annotations: { [STARGZ]: 'sha256:abc' },
    want: { isRefused: false, problem: /needs exactly 64/ },
  },
  {
    name: 'a digest that cannot be computed',
    annotations: { [STARGZ]: 'md5:abc' },
    want: { isRefused: false, problem: /cannot be verified/ },
  },
  {
    name: 'no position',
    annotations: { [`${NEW}-checksum`]: SHA },
    want: { isRefused: false, problem: /position is ""/ },
  },
  {
    name: 'another kind of table',
    annotations: { ...zstd(NEW), [`${NEW}-position`]: '1:2:3:2' },
    want: { isRefused: false, problem: /position is/ },
  },
]
for (const { name, annotations, want } of CASES) {
  t.test(`findLazyIndex() reads ${name}`, async (t) => {
    const found = findLazyIndex(new Map(Object.entries(annotations)))
    if (want === undefined) t.equal(found, undefined)
    else t.match(found, want)
  })
}
