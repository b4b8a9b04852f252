// Damaged archives: whatever is done to the corpora, the answer is a listing or an OcimountError, never a crash.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { isOcimountError } from '../../src/errors.js'
import type { TarEntry } from '../../src/tar/entry.js'
import { buildTar, dir, file, gnuLong, pax, sparse, symlink } from '../helpers/build-tar.js'
import { hopTar, streamTar } from '../helpers/list-tar.js'
import { seededRandom } from '../helpers/random.js'

const corpora = path.join(process.env['OCIMOUNT_CORPORA'] ?? '../shared/corpora', 'tar')
const pieces = Array.from({ length: 30 }, (_, index) => ({ offset: index * 99, data: 'xyz' }))
const built = buildTar([
  dir('d/'),
  file('d/f', 'content', { xattrs: { 'user.a': 'b' }, mtime: 1.5 }),
  symlink('d/l', 't'.repeat(200)),
  gnuLong('L', 'l'.repeat(700)),
  file('short', 'x'),
  ...(['gnu', '0.0', '0.1', '1.0'] as const).map((form) => sparse(form, 9999, pieces, form)),
  pax({ size: '3', path: 'p' }),
  file('q', 'abc'),
])

const archives = new Map<string, Buffer>([['built', built]])
if (existsSync(corpora)) {
  for (const directory of ['golang-archive-tar', 'cpython']) {
    for (const name of readdirSync(path.join(corpora, directory))) {
      if (!name.endsWith('.tar')) continue
      archives.set(name, readFileSync(path.join(corpora, directory, name)))
    }
  }
}

/** Lists in both ways; gives the entries, or undefined after a typed refusal. */
function listOrRefuse(archive: Buffer): readonly TarEntry[] | undefined {
  const hop = outcome(() => hopTar(archive.length, (at, n) => archive.subarray(at, at + n), 4096))
  const stream = outcome(() => streamTar(archive, () => 3000))
  // Both ways see the same bytes, so they come to the same end.
  if (JSON.stringify(hop) !== JSON.stringify(stream))
    throw new Error('hopping and streaming differ')
  return hop.entries
}

function outcome(list: () => { entries: readonly TarEntry[] }): {
  entries: readonly TarEntry[] | undefined
  error?: string
} {
  try {
    return { entries: list().entries }
  } catch (error) {
    if (isOcimountError(error, 'TAR_CORRUPT', 'LIMIT_EXCEEDED')) {
      return { entries: undefined, error: error.message }
    }
    throw error
  }
}

function isSane(entry: TarEntry, deviceSize: number): boolean {
  const { headerOffset, dataOffset, size, uid, gid, mode, mtime, sparse, type } = entry
  const numbers = [headerOffset, dataOffset, size, uid, gid, mode, mtime.nanoseconds]
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0)) return false
  if (mode > 0o7777 || mtime.nanoseconds >= 1e9 || !Number.isSafeInteger(mtime.seconds))
    return false
  if (type !== 'file') return size === 0 && sparse === undefined
  const segments = sparse ?? [{ fileOffset: 0, deviceOffset: dataOffset, length: size }]
  let end = 0
  for (const { fileOffset, deviceOffset, length } of segments) {
    if (fileOffset < end || fileOffset + length > size) return false
    if (deviceOffset < dataOffset || deviceOffset + length > deviceSize) return false
    end = fileOffset + length
  }
  return true
}

t.test('TarParser survives archives cut at many lengths (B-120)', async (t) => {
  const random = seededRandom(t)
  for (const [name, archive] of archives) {
    const whole = outcome(() => streamTar(archive)).entries
    const lengths = new Set([0, 1, 511, 512, 513, 1023, 1024, archive.length - 1])
    for (let count = 0; count < 40; count++) lengths.add(random.below(archive.length))
    const bad = [...lengths].filter((length) => {
      const entries = listOrRefuse(archive.subarray(0, length))
      if (entries === undefined || whole === undefined) return false
      return !entries.every((entry, index) => {
        return isSane(entry, length) && entry.path === whole[index]?.path
      })
    })
    t.strictSame(bad, [], `${name}: a cut archive lists a part of the whole, or is refused`)
  }
})

t.test('TarParser survives flipped bits (S-18…S-22)', async (t) => {
  const random = seededRandom(t)
  let listed = 0
  let refused = 0
  for (const [name, archive] of archives) {
    for (let round = 0; round < 60; round++) {
      const damaged = Buffer.from(archive.subarray(0, 64 * 1024))
      for (let flips = 1 + random.below(4); flips > 0; flips--) {
        const at = random.below(damaged.length)
        damaged[at] = damaged[at]! ^ (1 << random.below(8))
      }
      // Without this the checksum would catch nearly everything.
      if (round % 4 !== 0) repairChecksums(damaged)
      const entries = listOrRefuse(damaged)
      if (entries === undefined) refused++
      else listed++
      const insane = entries?.filter((entry) => !isSane(entry, damaged.length)) ?? []
      if (insane.length > 0) t.strictSame(insane, [], `${name} in round ${round}`)
    }
  }
  t.ok(listed > 100 && refused > 100, `${listed} were listed, ${refused} refused`)
})

function repairChecksums(archive: Buffer): void {
  for (let at = 0; at + 512 <= archive.length; at += 512) {
    if (archive[at] === 0 || archive[at + 154] !== 0 || archive[at + 155] !== 0x20) continue
    archive.fill(0x20, at + 148, at + 156)
    const sum = archive.subarray(at, at + 512).reduce((total, byte) => total + byte, 0)
    archive.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1')
  }
}
