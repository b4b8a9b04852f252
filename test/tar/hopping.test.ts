// The two ways of reading give the same, and hopping reads no content.

import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { TarParser } from '../../src/tar/parser.js'
import {
  buildTar,
  dir,
  file,
  globalPax,
  hardlink,
  header,
  other,
  pax,
  sparse,
  symlink,
} from '../helpers/build-tar.js'
import { hopTar, streamTar } from '../helpers/list-tar.js'
import { seededRandom, type Random } from '../helpers/random.js'

t.test('TarParser gives the same for any chunks and any hops (B-125)', async (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 12; round++) {
    const archive = randomArchive(random)
    const want = streamTar(archive)
    t.ok(want.entries.length > 0)
    for (const length of [1, 7, 511, 512, 513, 4096, 1 << 20]) {
      t.strictSame(
        streamTar(archive, () => length),
        want,
        `chunks of ${length}`,
      )
      t.strictSame(hop(archive, length), want, `hops of ${length}`)
    }
    t.strictSame(
      streamTar(archive, () => random.below(3000)),
      want,
      'chunks of random length',
    )
  }
})

t.test('TarParser asks for no byte of content when hopping (B-125)', async (t) => {
  const archive = randomArchive(seededRandom(t))
  const { entries } = streamTar(archive)
  const content = entries
    .filter((entry) => entry.type === 'file')
    .map(({ dataOffset, size, sparse }) => {
      const stored = sparse?.reduce((sum, { length }) => sum + length, 0) ?? size
      return { start: dataOffset, end: dataOffset + stored }
    })
  t.ok(content.length > 5)
  const listing = hopTar(archive.length, (at, length) => {
    const hit = content.find(({ start, end }) => at < end && at + length > start)
    if (hit !== undefined) throw new Error(`content at ${hit.start} was asked for`)
    return archive.subarray(at, at + length)
  })
  t.strictSame(listing.entries, entries)
})

t.test('TarParser refuses a PAX header of 2 GiB without reading it (B-111)', async (t) => {
  const head = header({ name: 'bomb', type: 'x', size: 2 ** 31 })
  const reads: number[] = []
  t.throws(
    () =>
      hopTar(2 ** 32, (at) => {
        reads.push(at)
        return head
      }),
    { code: 'LIMIT_EXCEEDED', message: /"bomb".*2147483648 bytes/ },
  )
  t.strictSame(reads, [0])
})

t.test('TarParser hops over members beyond 8 GiB in a file on disk (B-102)', async (t) => {
  const huge = 10 * 2 ** 30 + 1
  const members: [Buffer, number][] = [
    [header({ name: 'base256', size: huge }, 'gnu'), huge],
    [Buffer.concat([pax({ size: String(huge) }), header({ name: 'pax', size: 0 })]), huge],
    [header({ name: 'end', size: 3 }), 3],
  ]
  const archive = path.join(t.testdir(), 'huge.tar')
  const fd = openSync(archive, 'w+')
  t.teardown(() => {
    closeSync(fd)
  })
  let at = 0
  for (const [head, size] of members) {
    writeSync(fd, head, 0, head.length, at)
    at += head.length + Math.ceil(size / 512) * 512
  }
  at += 1024
  ftruncateSync(fd, at)
  let bytesRead = 0
  const { entries, notes } = hopTar(at, (offset, length) => {
    const chunk = Buffer.alloc(length)
    bytesRead += readSync(fd, chunk, 0, length, offset)
    return chunk
  })
  t.strictSame(
    entries.map(({ path, size, dataOffset }) => [path, size, dataOffset]),
    [
      ['base256', huge, 512],
      ['pax', huge, 512 + huge + 511 + 1536],
      ['end', 3, 2 * (512 + huge + 511) + 1024 + 512],
    ],
  )
  t.strictSame(notes, [])
  t.ok(bytesRead < 8192, `${bytesRead} bytes were read`)
})

t.test('TarParser keeps nothing of a chunk but what it copies', async (t) => {
  const archive = buildTar([
    file('f', '', { xattrs: { 'user.a': 'value' }, pax: { path: 'long' } }),
    symlink('s', 'target'),
  ])
  const entries: { path: string; xattrs: ReadonlyMap<string, Buffer> | undefined }[] = []
  const parser = new TarParser({ onEntry: (entry) => entries.push(entry) })
  parser.write(archive, 0)
  archive.fill(0xee)
  t.match(entries, [
    { path: 'long', xattrs: new Map([['user.a', Buffer.from('value')]]) },
    { path: 's', linkTarget: 'target' },
  ])
})

function hop(archive: Buffer, length: number): ReturnType<typeof hopTar> {
  return hopTar(archive.length, (at, count) => archive.subarray(at, at + count), length)
}

function randomArchive(random: Random): Buffer {
  const content = (): Buffer => Buffer.alloc(random.below(2000), 1 + random.below(255))
  const kinds: ((name: string) => Buffer)[] = [
    (name) => dir(`${name}/`),
    (name) => file(name, content()),
    (name) => file(name, content(), { dialect: 'gnu', uid: 2 ** 31 }),
    (name) => file(name, content(), { mtime: random.below(1000) / 8, xattrs: { 'user.x': name } }),
    (name) => file(`${name}/${'n'.repeat(200)}`, content()),
    (name) => file(`${name}/${'n'.repeat(600)}`, content(), { dialect: 'gnu' }),
    (name) => symlink(name, 't'.repeat(random.below(300))),
    (name) => hardlink(name, 'elsewhere'),
    (name) => other('V', name, content()),
    (name) => globalPax({ comment: name }),
    (name) => {
      let offset = 0
      const pieces = Array.from({ length: 1 + random.below(60) }, () => {
        offset += 600 + random.below(600)
        return { offset, data: Buffer.alloc(random.below(600), 0x78) }
      })
      const format = random.pick(['gnu', '0.0', '0.1', '1.0'] as const)
      return sparse(name, offset + 600 + random.below(9), pieces, format)
    },
  ]
  const members = Array.from({ length: 40 }, (_, index) => random.pick(kinds)(`m${index}`))
  return buildTar([file('first', 'x'), ...members], {
    end: random.pick(['marker', 'one-block', 'none'] as const),
    recordSize: random.pick([1, 10240]),
  })
}
