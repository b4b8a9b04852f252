import t from 'tap'

import { byteStringOf } from '../../src/byte-string.js'
import { TocBuilder } from '../../src/layer/toc-builder.js'
import type { Toc } from '../../src/layer/toc.js'
import { TarParser } from '../../src/tar/parser.js'
import {
  buildTar,
  char,
  dir,
  file,
  globalPax,
  hardlink,
  sparse,
  symlink,
} from '../helpers/build-tar.js'

function tocOf(...members: Buffer[]): Toc {
  const tar = buildTar(members)
  const builder = new TocBuilder()
  const parser = new TarParser({
    onEntry: (entry) => {
      builder.onEntry(entry)
    },
    onNote: (note) => {
      builder.onNote(note)
    },
  })
  parser.write(tar, 0)
  parser.end(tar.length)
  return builder.finish(tar.length)
}

const rows = ({ entries }: Toc): string[] =>
  entries.map(({ type, path, linkTarget }) => `${type} ${path}${linkTarget && ` -> ${linkTarget}`}`)

t.test(
  'TocBuilder cleans paths and the targets of hard links, in the order of the tar',
  async (t) => {
    const toc = tocOf(
      dir('./'),
      dir('./etc/'),
      file('/etc//x', 'hello'),
      hardlink('./b', './etc/./x'),
      symlink('l', '../..//etc/x'),
      char('dev/null', 1, 3),
      file('etc/x', 'again'),
    )
    t.strictSame(rows(toc), [
      'directory ',
      'directory etc',
      'file etc/x',
      'hardlink b -> etc/x',
      'symlink l -> ../..//etc/x',
      'char dev/null',
      'file etc/x',
    ])
    t.equal(toc.entries[2]?.size, 5)
    t.equal(toc.entries[2]?.dataOffset, 3 * 512)
    t.equal(toc.deviceSize % 512, 0)
  },
)

t.test('TocBuilder tells whiteouts by their base name, whatever their type', async (t) => {
  const toc = tocOf(
    file('.wh.a', ''),
    file('d/.wh.b', 'with content', { xattrs: { 'user.x': 'y' } }),
    dir('d/.wh.c/'),
    hardlink('d/.wh.e', 'nowhere'),
    symlink('d/.wh.f', '../../x'),
    file('d/.wh..wh..opq', ''),
    file('.wh..wh..opq', ''),
    file('d/.wh..wh.foo', ''),
    sparse('.wh.g', 4096, [{ offset: 512, data: 'x' }], '1.0'),
  )
  t.strictSame(rows(toc), [
    'whiteout a',
    'whiteout d/b',
    'whiteout d/c',
    'whiteout d/e',
    'whiteout d/f',
    'opaque d',
    'opaque ',
    'whiteout d/.wh.foo',
    'whiteout g',
  ])
  for (const { size, xattrs, sparse: segments } of toc.entries) {
    t.strictSame([size, xattrs, segments], [0, undefined, undefined])
  }
})

t.test('TocBuilder keeps the bodies of aufs links and notes the rest of aufs', async (t) => {
  const toc = tocOf(
    file('.wh..wh.aufs', ''),
    dir('.wh..wh.orph/'),
    file('.wh..wh.orph/x', ''),
    dir('.wh..wh.plnk/'),
    file('.wh..wh.plnk/123.456', 'body'),
    hardlink('usr/bin/x', '.wh..wh.plnk/123.456'),
    dir('.wh..wh.plnk/sub/'),
  )
  t.strictSame(rows(toc), [
    'file .wh..wh.plnk/123.456',
    'hardlink usr/bin/x -> .wh..wh.plnk/123.456',
  ])
  t.strictSame(
    toc.notes.map(({ kind, path }) => `${kind} ${path}`),
    [
      'aufs-metadata .wh..wh.aufs',
      'aufs-metadata .wh..wh.orph',
      'aufs-metadata .wh..wh.orph/x',
      'aufs-metadata .wh..wh.plnk',
      'aufs-metadata .wh..wh.plnk/sub',
    ],
  )
})

t.test(
  'TocBuilder notes and leaves out what lies in a directory with a whiteout name',
  async (t) => {
    const toc = tocOf(
      file('a/.wh.b/c', 'x'),
      file('a/.wh.b/.wh.c', ''),
      file('.wh..wh..opq/x', ''),
      file('a/x.wh.b', 'y'),
    )
    t.strictSame(rows(toc), ['file a/x.wh.b'])
    t.strictSame(
      toc.notes.map(({ kind, path }) => `${kind} ${path}`),
      [
        'whiteout-directory a/.wh.b/c',
        'whiteout-directory a/.wh.b/.wh.c',
        'whiteout-directory .wh..wh..opq/x',
      ],
    )
  },
)

t.test('TocBuilder passes on the notes of the tar reader', async (t) => {
  const toc = tocOf(globalPax({ comment: 'x' }), file('a', ''))
  t.equal(toc.notes.length, 1)
  t.match(toc.notes[0], { kind: 'global-header' })
})

t.test('TocBuilder counts the notes that it does not keep', async (t) => {
  const builder = new TocBuilder()
  const path = byteStringOf('x')
  for (let count = 0; count < 10_003; count++) {
    builder.onNote({ kind: 'unknown-type', path, detail: 'd', headerOffset: 0 })
  }
  const { notes } = builder.finish(0)
  t.equal(notes.length, 10_001)
  t.strictSame(notes.at(-1), { kind: 'omitted', path: '', detail: '3 more notes' })
})

for (const { name, member, code } of [
  { name: 'a path with ..', member: file('a/../b', ''), code: 'LAYER_CORRUPT' },
  { name: 'a hard link to ..', member: hardlink('a', '../b'), code: 'LAYER_CORRUPT' },
  { name: 'a whiteout of nothing', member: file('d/.wh.', ''), code: 'LAYER_CORRUPT' },
  { name: 'a whiteout of ..', member: file('d/.wh...', ''), code: 'LAYER_CORRUPT' },
  { name: 'a whiteout beyond ..', member: file('../.wh.x', ''), code: 'LAYER_CORRUPT' },
  { name: 'a long name', member: file('x'.repeat(300), ''), code: 'LIMIT_EXCEEDED' },
  { name: 'a long target', member: symlink('a', 'x'.repeat(4096)), code: 'LIMIT_EXCEEDED' },
]) {
  t.test(`TocBuilder refuses ${name}, naming entry and place`, async (t) => {
    const message = /^Cannot read tar entry ".*" at device offset 0: Cannot use /
    t.throws(() => tocOf(member), { code, message, details: { deviceOffset: 0 } })
  })
}
