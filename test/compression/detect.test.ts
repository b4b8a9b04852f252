import { execFileSync } from 'node:child_process'
import { gzipSync } from 'node:zlib'

import t from 'tap'

import { detectCompression } from '../../src/compression/detect.js'
import { buildTar, file } from '../helpers/build-tar.js'
import { toolMissing } from '../helpers/streams.js'

const cases: readonly { name: string; head: Uint8Array; want: string }[] = [
  { name: 'nothing', head: Buffer.alloc(0), want: 'none' },
  { name: 'gzip', head: gzipSync('x'), want: 'gzip' },
  { name: 'gzip of another method', head: Buffer.from('1f8b0700', 'hex'), want: 'none' },
  { name: 'two bytes of gzip', head: Buffer.from('1f8b', 'hex'), want: 'none' },
  { name: 'zstd', head: Buffer.from('28b52ffd00', 'hex'), want: 'zstd' },
  { name: 'a skippable zstd frame', head: Buffer.from('5f2a4d1800000000', 'hex'), want: 'zstd' },
  { name: 'zip', head: Buffer.from('504b0304', 'hex'), want: 'zip' },
  { name: 'a tar', head: buildTar([file('a', 'x')]), want: 'none' },
  { name: 'a tar of a member called BZh9', head: buildTar([file('BZh9', 'x')]), want: 'none' },
  { name: 'a tar of a member called PK', head: buildTar([file('PK\x03\x04', '')]), want: 'none' },
  {
    name: 'a tar header with a wrong checksum',
    head: buildTar([file('BZh9', 'x', { raw: { checksum: 1 } })]),
    want: 'bzip2',
  },
]

for (const { name, head, want } of cases) {
  t.test(`detectCompression() takes ${name} for ${want}`, async (t) => {
    t.equal(detectCompression(head), want)
  })
}

for (const { tool, want } of [
  { tool: 'gzip', want: 'gzip' },
  { tool: 'zstd', want: 'zstd' },
  { tool: 'bzip2', want: 'bzip2' },
  { tool: 'xz', want: 'xz' },
]) {
  t.test(
    `detectCompression() knows what ${tool} writes`,
    { skip: toolMissing(tool) },
    async (t) => {
      t.equal(detectCompression(execFileSync(tool, ['-c'], { input: 'some text' })), want)
    },
  )
}
