// Every archive of the corpora: the same listing as Python's tarfile, a refusal, or a difference with a reason.

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import type { ErrorCode } from '../../src/errors.js'
import {
  hopTar,
  missingTool,
  plainEntry,
  pythonListings,
  streamTar,
  type PlainEntry,
} from '../helpers/list-tar.js'

type Patch = Partial<PlainEntry>

/** Where ours differs from Python's listing; a patch says how, entry by entry. */
const DIFFERENCES: Readonly<Record<string, { reason: string; patches: readonly Patch[] }>> = {
  'gnu-incremental.tar': {
    reason: 'Python takes GNU times for a prefix (B-123) and a dumpdir for a file (B-119)',
    patches: [
      { path: 'test2', type: 'directory', size: 0, content: null },
      { path: 'test2/foo' },
      { path: 'test2/sparse' },
    ],
  },
  'gnu-multi-hdrs.tar': {
    reason: 'of several long names Python takes the first, Go the last (B-109)',
    patches: [{ path: 'GNU2/GNU2/long-path-name', linkTarget: 'GNU4/GNU4/long-linkpath-name' }],
  },
  'pax-multi-hdrs.tar': {
    reason: 'of several PAX headers only the last counts (B-107)',
    patches: [{ path: 'bar', linkTarget: 'PAX4/PAX4/long-linkpath-name' }],
  },
  'pax-global-records.tar': {
    reason: 'global records never rename or change an entry (B-108)',
    patches: [
      { path: 'file1', mtime: { seconds: 0, nanoseconds: 0 } },
      { path: 'file2', mtime: { seconds: 0, nanoseconds: 0 } },
      { path: 'file3', mtime: { seconds: 0, nanoseconds: 0 } },
      { path: 'file4' },
    ],
  },
  'pax-nil-sparse-data.tar': {
    reason: 'Python takes a 1.0 map with GNU.sparse.size for 0.0 (B-115)',
    patches: [
      {
        size: 1000,
        content: 'ab6c5f3237f551d208fc2ca5225a4cca20b3fd638794a804f0ed5549d5041734',
      },
    ],
  },
  'pax-nil-sparse-hole.tar': {
    reason: 'Python takes a 1.0 map with GNU.sparse.size for 0.0 (B-115)',
    patches: [
      {
        size: 1000,
        content: '541b3e9daa09b20bf85fa273e5cbd3e80185aa4ec298e765db87742b70138a53',
      },
    ],
  },
  'pax-sparse-big.tar': {
    reason: 'Python takes a 1.0 map with GNU.sparse.size for 0.0 (B-115)',
    patches: [{ size: 60_000_000_000, content: null }],
  },
}

/** What is refused; Python lists or refuses it, Go refuses all of them but the one that says so. */
const REFUSALS: Readonly<Record<string, { code: ErrorCode; message: RegExp }>> = {
  'issue10968.tar': { code: 'TAR_CORRUPT', message: /checksum/ },
  'issue11169.tar': { code: 'TAR_CORRUPT', message: /PAX record/ },
  'issue12435.tar': { code: 'LIMIT_EXCEEDED', message: /type K/ },
  'neg-size.tar': { code: 'TAR_CORRUPT', message: /size -\S+ is out of range/ },
  'pax-bad-hdr-file.tar': { code: 'TAR_CORRUPT', message: /PAX record/ },
  'pax-bad-hdr-large.tar.bz2': { code: 'LIMIT_EXCEEDED', message: /type x with 1048577 bytes/ },
  'pax-bad-mtime-file.tar': { code: 'TAR_CORRUPT', message: /"foo".*mtime is no time/ },
  'pax-nul-path.tar': { code: 'TAR_CORRUPT', message: /path has a NUL/ },
  'pax-nul-xattrs.tar': { code: 'TAR_CORRUPT', message: /has a NUL/ },
  // Only the PAX header is there. Go sees an empty archive, Python refuses it too.
  'pax-path-hdr.tar': { code: 'TAR_CORRUPT', message: /ends inside of it/ },
  // 16 GiB of content are not there.
  'writer-big-long.tar': { code: 'TAR_CORRUPT', message: /16gig.*ends inside of it/ },
  'writer-big.tar': { code: 'TAR_CORRUPT', message: /16gig.*ends inside of it/ },
}

const corpora = path.join(process.env['OCIMOUNT_CORPORA'] ?? '../shared/corpora', 'tar')
const skip = existsSync(corpora) ? missingTool('python3', '--version') : 'the corpora are not there'

t.test('TarParser lists the corpora as Python does', { skip }, async (t) => {
  const files = ['golang-archive-tar', 'cpython']
    .flatMap((directory) =>
      readdirSync(path.join(corpora, directory)).map((name) => path.join(corpora, directory, name)),
    )
    .filter((file) => /\.tar(\.bz2)?$/.test(file))
  const oracles = pythonListings(files)
  for (const [index, file] of files.entries()) {
    const name = path.basename(file)
    const tool = name.endsWith('.bz2') ? missingTool('bzip2', '--help') : false
    t.test(name, { skip: tool }, async (t) => {
      const archive = readArchive(file)
      const refusal = REFUSALS[name]
      if (refusal !== undefined) {
        t.throws(() => streamTar(archive), refusal)
        t.throws(() => hop(archive), refusal)
        return
      }
      const { entries, notes } = streamTar(archive)
      const difference = DIFFERENCES[name]
      const want = (oracles[index]?.entries ?? []).map((entry, at) => ({
        ...entry,
        ...difference?.patches[at],
      }))
      const have = entries
        .map((entry) => plainEntry(archive, entry))
        .map((entry) => ({ ...entry, path: entry.path.replace(/\/+$/, '') }))
      t.ok(have.length > 0)
      t.strictSame(have, want, difference?.reason ?? 'the same listing')
      t.strictSame(hop(archive), { entries, notes }, 'hopping sees the same')
    })
  }
})

t.test('TarParser notes what it steps over in cpython/testtar.tar', { skip }, async (t) => {
  const { notes } = streamTar(readArchive(path.join(corpora, 'cpython', 'testtar.tar')))
  t.strictSame(
    notes.map(({ kind, path, detail }) => [kind, path, detail]),
    [
      ['global-header', '/tmp/GlobalHead.26030.1', 'ignored: gname, uname, VENDOR.umlauts'],
      ['global-header', '/tmp/GlobalHead.23988.1', 'ignored: uname'],
      ['global-header', '/tmp/GlobalHead.23988.1', 'ignored: uname, gname'],
    ],
  )
})

function hop(archive: Buffer): ReturnType<typeof hopTar> {
  return hopTar(archive.length, (at, length) => archive.subarray(at, at + length))
}

function readArchive(file: string): Buffer {
  if (!file.endsWith('.bz2')) return readFileSync(file)
  return execFileSync('bzip2', ['-dc', file], { maxBuffer: 1 << 26 })
}
