// Layers made by an attacker: each is refused in one line with nothing left behind, or taken with the harm taken out.

import { join } from 'node:path'
import t from 'tap'
import { buildImage } from '../helpers/build-image.js'
import * as tar from '../helpers/build-tar.js'
import { forEachOf, leavesNothing, refuses } from '../helpers/cli-checks.js'
import { cliFixture } from '../helpers/cli-fixture.js'
import { writeImage } from '../helpers/write-image.js'

const GIB = 2 ** 30

interface Refused {
  readonly name: string
  readonly tar: Buffer
  readonly why: RegExp
}

const REFUSED: readonly Refused[] = [
  {
    name: '".." in an entry',
    tar: tar.buildTar([tar.dir('a/'), tar.file('a/../../etc/passwd', 'x')]),
    why: /"a\/\.\.\/\.\.\/etc\/passwd".*has a "\.\." part/,
  },
  {
    name: '".." that stays inside',
    tar: tar.buildTar([tar.dir('a/'), tar.file('a/../b', 'x')]),
    why: /has a "\.\." part/,
  },
  {
    name: '".." in the target of a hard link',
    tar: tar.buildTar([tar.hardlink('shadow', '../../../etc/shadow')]),
    why: /\.\./,
  },
  {
    name: 'a root entry that is a symlink',
    tar: tar.buildTar([tar.symlink('./', '/etc')]),
    why: /root/,
  },
  {
    name: 'a root entry that is a file',
    tar: tar.buildTar([tar.file('.', 'x')]),
    why: /root/,
  },
  {
    name: 'a parent that is a symlink to itself',
    tar: tar.buildTar([tar.symlink('loop', 'loop'), tar.file('loop/x', 'x')]),
    why: /loop.*too many symbolic links|symlink|loop/,
  },
  {
    name: 'parents that are symlinks in a circle',
    tar: tar.buildTar([tar.symlink('a', 'b/c'), tar.symlink('b', '/a'), tar.file('a/x', 'x')]),
    why: /symlink|symbolic links|loop/,
  },
  {
    name: 'a whiteout of nothing',
    tar: tar.buildTar([tar.file('etc/.wh.')]),
    why: /\.wh\./,
  },
  {
    name: 'a whiteout of ".."',
    tar: tar.buildTar([tar.file('etc/.wh...')]),
    why: /\.wh\./,
  },
  {
    name: 'a PAX header of 2 GiB',
    tar: tar.buildTar([
      tar.header({ name: 'pax', type: 'x', size: 2 * GIB }),
      Buffer.alloc(4096, 'x'),
    ]),
    why: /device offset 0/,
  },
  {
    name: 'a GNU long name of 2 GiB',
    tar: tar.buildTar([
      tar.header({ name: '././@LongLink', type: 'L', size: 2 * GIB }, 'gnu'),
      Buffer.alloc(4096, 'x'),
    ]),
    why: /device offset 0/,
  },
  {
    name: 'a negative size',
    tar: tar.buildTar([tar.header({ name: 'a', type: '0', size: tar.base256(-512n, 12) })]),
    why: /size/,
  },
  {
    name: 'a negative size in a PAX record',
    tar: tar.buildTar([tar.file('a', 'x', { pax: { size: '-1' } })]),
    why: /size/,
  },
  {
    name: 'a size beyond the end of everything',
    tar: tar.buildTar([tar.header({ name: 'a', type: '0', size: tar.base256(2n ** 62n, 12) })]),
    why: /size|ends inside/,
  },
  {
    name: 'a sparse map that runs over',
    tar: tar.buildTar([
      tar.sparse('a', 1024, [{ offset: 0, data: 'x'.repeat(512) }], '1.0', {
        map: [[2 ** 53 - 100, 512]],
      }),
    ]),
    why: /sparse/,
  },
  {
    name: 'a sparse map whose pieces overlap',
    tar: tar.buildTar([
      tar.sparse('a', 4096, [{ offset: 0, data: 'x'.repeat(1024) }], '0.1', {
        map: [
          [0, 512],
          [256, 512],
        ],
      }),
    ]),
    why: /sparse/,
  },
  {
    name: 'a sparse map of more pieces than there are',
    tar: tar.buildTar([
      tar.file('GNUSparseFile.0/x', '999999999\n'.padEnd(512, '\0'), {
        pax: {
          'GNU.sparse.major': '1',
          'GNU.sparse.minor': '0',
          'GNU.sparse.name': 'a',
          'GNU.sparse.realsize': '4096',
        },
      }),
    ]),
    why: /sparse|"a"/,
  },
  {
    name: 'a name with a NUL in the middle of a PAX record',
    tar: tar.buildTar([tar.file('a', 'x', { pax: { path: 'etc\0evil' } })]),
    why: /path|NUL/,
  },
  {
    name: 'a name of 300 bytes',
    tar: tar.buildTar([tar.file('a', 'x', { pax: { path: 'n'.repeat(300) } })]),
    why: /255/,
  },
  {
    name: 'a path of 10,000 bytes',
    tar: tar.buildTar([tar.file('a', 'x', { pax: { path: 'n/'.repeat(5000) + 'x' } })]),
    why: /4096|4095|too long/,
  },
  {
    name: 'a symlink of 5,000 bytes',
    tar: tar.buildTar([tar.symlink('a', 'b', { pax: { linkpath: 'n'.repeat(5000) } })]),
    why: /409[56]|long/,
  },
  {
    name: 'a wrong checksum',
    tar: tar.buildTar([tar.file('a', 'x'), tar.file('b', 'y', { raw: { checksum: 1 } })]),
    why: /checksum/,
  },
  {
    name: 'noise where the next header should be',
    tar: Buffer.concat([tar.file('a', 'x'), Buffer.alloc(1024, 0xa5)]),
    why: /device offset 1024/,
  },
]

t.test('hostile layers are refused, packed or not', async (t) => {
  const fixture = cliFixture(t)
  await forEachOf([...REFUSED.entries()], async ([index, { name, tar: layer, why }]) => {
    for (const compression of ['none', 'gzip'] as const) {
      const image = buildImage({ tags: ['test'], layers: [{ tar: layer, compression }] })
      const path = writeImage(join(fixture.dir, `${index}-${compression}`), [image], {
        form: 'oci',
      })
      t.comment(name)
      const args = compression === 'none' ? [path, fixture.mountpoint(`at-${index}`)] : ['ls', path]
      await refuses(t, fixture, args, { status: 3, why })
    }
  })
  await leavesNothing(t, fixture)
})
