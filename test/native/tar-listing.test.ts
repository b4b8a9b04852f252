// What the addon lists of a plain tar, against the parser that reads every header.

import { open } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { hopFile, hopToc } from '../../src/layer/hop-toc.js'
import type { FileRegion } from '../../src/layer/layer-blob.js'
import type { Toc } from '../../src/layer/toc.js'
import { countListed } from '../../src/tar/listed.js'
import { addonSkipReason } from '../helpers/native-addon.js'
import {
  block,
  buildTar,
  char,
  dir,
  fifo,
  file,
  gnuLong,
  hardlink,
  header,
  sparse,
  symlink,
} from '../helpers/build-tar.js'
import { seededRandom, type Random } from '../helpers/random.js'

const skip = addonSkipReason()
/** Stands in front of the archive, whose offsets are not those of the file. */
const LEAD = 1234

t.test('the toc is the same with and without it', { skip }, async (t) => {
  const random = seededRandom(t)
  let total = 0
  for (let round = 0; round < 20; round++) {
    const archive = randomArchive(random, round === 0 ? 1500 : 200)
    const { listed, read, count } = await bothWays(t, archive)
    t.strictSame(listed, read, `archive ${round}`)
    total += count
  }
  t.ok(total > 1000, `${total} members were listed`)
})

t.test('whatever is wrong with a header, both ways say so', { skip }, async (t) => {
  const random = seededRandom(t)
  const good = randomArchive(random, 12)
  const headers = await headerOffsets(t, good)
  for (let round = 0; round < 400; round++) {
    const archive = Buffer.from(good)
    const at = random.pick(headers)
    for (let change = random.below(3); change >= 0; change--) {
      archive[at + random.pick(FIELDS) + random.below(12)] = random.pick([
        0, 0x20, 0x2f, 0x37, 0x38, 0xff,
      ])
    }
    if (random.below(4) > 0) repairChecksum(archive, at)
    const size = random.below(8) === 0 ? random.below(archive.length) : archive.length
    const { listed, read } = await bothWays(t, archive.subarray(0, size))
    t.strictSame(listed, read, `header at ${at}`)
  }
})

t.test('what is not ordinary is left to the parser', { skip }, async (t) => {
  const odd: Record<string, Buffer> = {
    'a device of no kernel': char('d', 0x1000, 2),
    'a long name': file('n'.repeat(300), 'x'),
    'a GNU long name': Buffer.concat([gnuLong('L', 'n'.repeat(300)), file('cut', 'x')]),
    'an xattr': file('x', '', { xattrs: { 'user.a': 'b' } }),
    'a sparse file': sparse('s', 10_000, [{ offset: 4096, data: 'x' }], 'gnu'),
    'a v7 header': file('v', 'x', { dialect: 'v7' }),
    'a STAR header': file('s', 'x', { dialect: 'star' }),
    'a number in base-256': header({ name: 'b', uid: 2 ** 31 }, 'gnu'),
    'a file with a slash': header({ name: 'd/', type: '0' }),
    'a prefix in a GNU header': header({ name: 'p', prefix: 'of/go', size: 0 }, 'gnu'),
    'a sum of signed bytes': header({ name: 'n\xff', checksum: 'signed' }),
    'a type of no file': header({ name: 'V', type: 'V' }, 'gnu'),
  }
  for (const [what, member] of Object.entries(odd)) {
    const around = Array.from({ length: 40 }, (_, index) => file(`f${index}`, 'content'))
    const { listed, read, count } = await bothWays(t, buildTar([...around, member, ...around]))
    t.strictSame(listed, read, what)
    t.ok(count >= 40 && count <= 80, `${what}: ${count} were listed`)
  }
})

t.test('a file that ends early is a changed source', { skip }, async (t) => {
  const archive = buildTar(Array.from({ length: 100 }, (_, index) => file(`f${index}`, 'content')))
  const region = await regionOf(t, archive)
  const handle = await open(region.path, 'r+')
  await handle.truncate(LEAD + 20 * 1024)
  await t.rejects(hopToc(hopFile(handle, region)), { code: 'SOURCE_CHANGED' })
  await handle.close()
})

/** Where numbers and texts begin that decide something. */
const FIELDS = [0, 90, 100, 108, 116, 124, 136, 148, 156, 157, 257, 263, 329, 337, 345, 357, 500]

async function bothWays(
  t: Test,
  archive: Buffer,
): Promise<{ readonly listed: unknown; readonly read: unknown; readonly count: number }> {
  const region = await regionOf(t, archive)
  const handle = await open(region.path)
  const { list, ...source } = hopFile(handle, region)
  let count = 0
  const counting = async (start: number): ReturnType<NonNullable<typeof list>> => {
    if (list === undefined) throw new Error('nothing lists')
    const members = await list(start)
    count += countListed(members)
    return members
  }
  const listed = await outcome(hopToc({ ...source, list: counting }))
  const read = await outcome(hopToc(source))
  await handle.close()
  return { listed, read, count }
}

async function outcome(listing: Promise<Toc>): Promise<unknown> {
  try {
    return await listing
  } catch (error) {
    return String(error)
  }
}

async function regionOf(t: Test, archive: Buffer): Promise<FileRegion> {
  const path = join(t.testdir({ file: Buffer.concat([Buffer.alloc(LEAD), archive]) }), 'file')
  const identity = { dev: '', ino: '', size: 0, mtimeNs: '', ctimeNs: '' }
  return { path, offset: LEAD, length: archive.length, identity }
}

async function headerOffsets(t: Test, archive: Buffer): Promise<number[]> {
  const { read } = await bothWays(t, archive)
  return (read as Toc).entries.map(({ headerOffset }) => headerOffset)
}

function repairChecksum(archive: Buffer, at: number): void {
  archive.fill(' ', at + 148, at + 156)
  const sum = archive.subarray(at, at + 512).reduce((total, byte) => total + byte, 0)
  archive.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1')
}

function randomArchive(random: Random, members: number): Buffer {
  const content = (): Buffer => Buffer.alloc(random.below(5000), 1 + random.below(255))
  const kinds: ((name: string) => Buffer)[] = [
    (name) => dir(`${name}/`, { mtime: random.below(2 ** 31) }),
    (name) => file(`./${name}`, content(), { uid: random.below(2 ** 20), mode: 0o4755 }),
    (name) => file(name, content(), { dialect: 'gnu', gid: random.below(2 ** 20) }),
    (name) => file(`${'long/'.repeat(15)}${'n'.repeat(60)}${name}`, content()),
    (name) => symlink(name, '../some/target'),
    (name) => char(name, random.below(0x1000), random.below(0x100000)),
    (name) => block(name, 8, 1),
    (name) => fifo(name),
    (name) => hardlink(name, 'f'),
    (name) => file(`.wh.${name}`),
    (name) => file(`n\xfcn-${name}`, content()),
    (name) => file(name, content(), random.below(8) === 0 ? { xattrs: { 'user.x': name } } : {}),
  ]
  const all = Array.from({ length: members }, (_, index) => random.pick(kinds)(`m${index}`))
  return buildTar([file('f', 'x'), ...all])
}
