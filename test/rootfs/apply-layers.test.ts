// The rules for applying layers, each under its number in the checklist.

import t from 'tap'
import { byteStringOf, type ByteString } from '../../src/byte-string.js'
import type { ErofsNode } from '../../src/erofs/node.js'
import {
  block,
  char,
  dir,
  fifo,
  file,
  hardlink,
  layer,
  layerWith,
  opaque,
  sparse,
  symlink,
  tampered,
  whiteout,
  type BuiltLayer,
  type LayerPart,
} from '../helpers/build-layer.js'
import { contentOf, devicesOf, union } from './describe-tree.js'

/** Short forms: `dir 755`, `implied`, `file 644 text`, `-> target`, `char 1:3`, each with ` = other` for a hard link. */
type Sketch = Readonly<Record<string, string>>

const LONG = 'n'.repeat(255)

const trees: readonly {
  id: string
  name: string
  layers: readonly (readonly LayerPart[])[]
  want: Sketch
  report?: readonly string[]
}[] = [
  {
    id: 'B-001',
    name: 'has every type of file',
    layers: [
      [
        file('f', 'text', { mode: 0o600 }),
        dir('d', { mode: 0o700 }),
        symlink('l', '../f'),
        char('c', 1, 3),
        block('b', 259, 1048575),
        fifo('p'),
      ],
    ],
    want: {
      b: 'block 259:1048575',
      c: 'char 1:3',
      d: 'dir 700',
      f: 'file 600 text',
      l: '-> ../f',
      p: 'fifo',
    },
  },
  {
    id: 'B-006',
    name: 'keeps the twelve mode bits and no more',
    layers: [[file('s', '', { mode: 0o104755 }), dir('t', { mode: 0o41777 })]],
    want: { s: 'file 4755 ', t: 'dir 1777' },
  },
  {
    id: 'B-017',
    name: 'keeps names that are not text apart',
    layers: [[file(Buffer.from([0xff]), '1'), file(Buffer.from([0xfe]), '2'), file('\u00e9', '3')]],
    want: { '\xff': 'file 644 1', '\xfe': 'file 644 2', '\xc3\xa9': 'file 644 3' },
  },
  {
    id: 'B-030',
    name: 'replaces the attributes of a directory and keeps its children',
    layers: [[dir('d'), file('d/a', '1')], [dir('d', { mode: 0o700 })]],
    want: { d: 'dir 700', 'd/a': 'file 644 1' },
  },
  {
    id: 'B-031',
    name: 'replaces the xattrs of a directory as a whole',
    layers: [[dir('d', { xattrs: { 'user.a': '1' } })], [dir('d', { xattrs: { 'user.b': '2' } })]],
    want: { d: 'dir 755 user.b=2' },
  },
  {
    id: 'B-031',
    name: 'leaves no xattr where the new entry has none',
    layers: [[dir('d', { xattrs: { 'user.a': '1' } })], [dir('d')]],
    want: { d: 'dir 755' },
  },
  {
    id: 'B-032',
    name: 'replaces anything by anything else',
    layers: [
      [file('a', '1'), dir('b'), file('b/x'), symlink('c', 'b'), dir('d'), file('d/x'), fifo('e')],
      [dir('a'), file('b', '2'), dir('c'), symlink('d', 'a'), file('e', '3')],
    ],
    want: { a: 'dir 755', b: 'file 644 2', c: 'dir 755', d: '-> a', e: 'file 644 3' },
  },
  {
    id: 'B-033',
    name: 'replaces a symlink by a directory and leaves its target alone',
    layers: [
      [dir('usr'), dir('usr/lib'), file('usr/lib/x'), symlink('lib', 'usr/lib')],
      [dir('lib')],
    ],
    want: { lib: 'dir 755', usr: 'dir 755', 'usr/lib': 'dir 755', 'usr/lib/x': 'file 644 ' },
  },
  {
    id: 'B-034',
    name: 'a replaced name leaves its hard-link set',
    layers: [[file('a', 'old'), hardlink('b', 'a')], [file('b', 'new')]],
    want: { a: 'file 644 old', b: 'file 644 new' },
  },
  {
    id: 'B-035',
    name: 'a hard link takes the place of what was there',
    layers: [[file('a', '1'), dir('b'), file('b/x')], [hardlink('b', 'a')]],
    want: { a: 'file 644 1', b: 'file 644 1 = a' },
  },
  {
    id: 'B-035',
    name: 'a hard link to itself changes nothing',
    layers: [[file('a', '1')], [symlink('r', '/'), hardlink('a', 'a'), hardlink('a', 'r/a')]],
    want: { a: 'file 644 1', r: '-> /' },
    report: ['hard-link-to-itself 1 a', 'hard-link-to-itself 1 a'],
  },
  {
    id: 'B-036',
    name: 'the last of several entries wins',
    layers: [[file('a', '1'), dir('d'), file('a', '2'), dir('d', { mode: 0o700 })]],
    want: { a: 'file 644 2', d: 'dir 700' },
    report: ['duplicate 0 a', 'duplicate 0 d'],
  },
  {
    id: 'B-037',
    name: 'the order inside a layer counts',
    layers: [[dir('d'), file('d/x'), file('d', 'f'), dir('d', { mode: 0o711 })]],
    want: { d: 'dir 711' },
    report: ['duplicate 0 d', 'duplicate 0 d'],
  },
  {
    id: 'B-039',
    name: 'the root entry describes the root',
    layers: [[file('x')], [dir('', { mode: 0o1777, xattrs: { 'user.r': '1' } })]],
    want: { '': 'dir 1777 user.r=1', x: 'file 644 ' },
  },
  {
    id: 'B-042',
    name: 'a directory without an entry keeps what the lower layer says',
    layers: [[dir('d', { mode: 0o700 })], [file('d/x')]],
    want: { d: 'dir 700', 'd/x': 'file 644 ' },
  },
  {
    id: 'B-045',
    name: 'case counts',
    layers: [[file('A', '1'), file('a', '2')]],
    want: { A: 'file 644 1', a: 'file 644 2' },
  },
  {
    id: 'B-054',
    name: 'missing parents are implied, existing ones stay',
    layers: [[dir('a', { mode: 0o700 })], [file('a/b/c', '1'), file('x/y', '2')]],
    want: {
      a: 'dir 700',
      'a/b': 'implied',
      'a/b/c': 'file 644 1',
      x: 'implied',
      'x/y': 'file 644 2',
    },
  },
  {
    id: 'B-055',
    name: 'a parent may come after its child',
    layers: [[file('a/b', '1'), dir('a', { mode: 0o711 })]],
    want: { a: 'dir 711', 'a/b': 'file 644 1' },
  },
  {
    id: 'B-056',
    name: 'goes through symlinked parents of a lower layer',
    layers: [[dir('usr/lib'), symlink('lib', 'usr/lib')], [file('lib/x', '1')]],
    want: { lib: '-> usr/lib', usr: 'implied', 'usr/lib': 'dir 755', 'usr/lib/x': 'file 644 1' },
  },
  {
    id: 'B-056',
    name: 'goes through symlinked parents of the same layer, dangling ones too',
    layers: [[symlink('l', 'no/../where'), file('l/x', '1')]],
    want: { l: '-> no/../where', where: 'implied', 'where/x': 'file 644 1' },
  },
  {
    id: 'B-058',
    name: 'absolute links start at the root of the image, .. stops there (S-02)',
    layers: [
      [dir('etc'), symlink('a', '/etc'), symlink('b', '../../../etc')],
      [file('a/x', '1'), file('b/y', '2')],
    ],
    want: {
      a: '-> /etc',
      b: '-> ../../../etc',
      etc: 'dir 755',
      'etc/x': 'file 644 1',
      'etc/y': 'file 644 2',
    },
  },
  {
    id: 'B-059',
    name: 'a parent that is no directory becomes one',
    layers: [
      [file('a', '1'), fifo('t'), symlink('l', 't')],
      [file('a/b', '2'), file('l/x', '3')],
    ],
    want: { a: 'implied', 'a/b': 'file 644 2', l: '-> t', t: 'implied', 't/x': 'file 644 3' },
    report: ['parent-replaced 1 a/b', 'parent-replaced 1 l/x'],
  },
  {
    id: 'B-060',
    name: 'the last part is never followed',
    layers: [[dir('etc'), file('etc/passwd', 'p'), symlink('x', '/etc/passwd')], [file('x', '1')]],
    want: { etc: 'dir 755', 'etc/passwd': 'file 644 p', x: 'file 644 1' },
  },
  {
    id: 'B-061',
    name: "a hard link's target goes through symlinks, but its last part is not followed",
    layers: [
      [dir('d'), file('d/f', '1'), symlink('l', 'd'), symlink('s', 'd/f')],
      [hardlink('a', 'l/f'), hardlink('b', 's')],
    ],
    want: {
      a: 'file 644 1',
      b: '-> d/f',
      d: 'dir 755',
      'd/f': 'file 644 1 = a',
      l: '-> d',
      s: '-> d/f = b',
    },
  },
  {
    id: 'B-062',
    name: 'a hard link shares the inode of a lower layer',
    layers: [[file('a', '1', { mode: 0o600, xattrs: { 'user.x': 'y' } })], [hardlink('b', 'a')]],
    want: { a: 'file 600 1 user.x=y', b: 'file 600 1 user.x=y = a' },
    report: ['hard-link-metadata 1 b'],
  },
  {
    id: 'B-063',
    name: 'links to later entries, to one another and out of order',
    layers: [[hardlink('a', 'b'), hardlink('b', 'c'), hardlink('d', 'a'), file('c', '1')]],
    want: {
      a: 'file 644 1',
      b: 'file 644 1 = a',
      c: 'file 644 1 = a',
      d: 'file 644 1 = a',
    },
  },
  {
    id: 'B-063',
    name: 'a later entry takes the place of a link that waits',
    layers: [[hardlink('a', 'c'), dir('a'), hardlink('d/x', 'c'), file('d', '2'), file('c', '1')]],
    want: { a: 'dir 755', c: 'file 644 1', d: 'file 644 2' },
    report: ['duplicate 0 a'],
  },
  {
    id: 'B-065',
    name: "a link's own metadata is ignored and said so",
    layers: [[file('a', '1'), hardlink('b', 'a', { mode: 0o777, uid: 5 })]],
    want: { a: 'file 644 1', b: 'file 644 1 = a' },
    report: ['hard-link-metadata 0 b'],
  },
  {
    id: 'B-067',
    name: 'a link goes to what the target is at that moment',
    layers: [
      [file('a', 'old')],
      [file('a', 'new'), hardlink('b', 'a'), file('a', 'newest'), hardlink('c', 'a')],
    ],
    want: { a: 'file 644 newest', b: 'file 644 new', c: 'file 644 newest = a' },
    report: ['duplicate 1 a'],
  },
  {
    id: 'B-070',
    name: 'a whiteout hides a file, a link, a directory with all below',
    layers: [
      [file('f'), symlink('l', 'f'), dir('d'), dir('d/e'), file('d/e/f'), file('k', 'kept')],
      [whiteout('f'), whiteout('l'), whiteout('d')],
    ],
    want: { k: 'file 644 kept' },
  },
  ...bothOrders('B-072', 'an entry of the same layer stays', {
    lower: [file('a', 'old'), dir('d'), file('d/a', 'old')],
    upper: [file('a', 'new'), file('d/a', 'new')],
    whiteouts: [whiteout('a'), whiteout('d/a')],
    want: { a: 'file 644 new', d: 'dir 755', 'd/a': 'file 644 new' },
  }),
  ...bothOrders('B-073', 'a whiteout of a directory with new children leaves these alone', {
    lower: [dir('d', { mode: 0o700 }), file('d/old'), dir('d/e'), file('d/e/old')],
    upper: [file('d/x', '1'), file('d/e/y', '2')],
    whiteouts: [whiteout('d')],
    want: { d: 'implied', 'd/e': 'implied', 'd/e/y': 'file 644 2', 'd/x': 'file 644 1' },
  }),
  ...bothOrders('B-074', 'an opaque marker hides lower children at every depth', {
    lower: [dir('d', { mode: 0o700 }), file('d/old'), dir('d/e'), file('d/e/old')],
    upper: [file('d/x', '1'), file('d/e/y', '2')],
    whiteouts: [opaque('d')],
    want: { d: 'dir 700', 'd/e': 'implied', 'd/e/y': 'file 644 2', 'd/x': 'file 644 1' },
  }),
  ...bothOrders('B-075', 'an opaque root hides the whole lower tree', {
    lower: [dir('', { mode: 0o711 }), file('a'), dir('d'), file('d/x')],
    upper: [file('b', '1')],
    whiteouts: [opaque('')],
    want: { '': 'dir 711', b: 'file 644 1' },
  }),
  ...bothOrders('B-076', 'an opaque directory takes the attributes of its entry', {
    lower: [dir('d', { mode: 0o700 }), file('d/x')],
    upper: [dir('d', { mode: 0o711 })],
    whiteouts: [opaque('d')],
    want: { d: 'dir 711' },
  }),
  {
    id: 'B-077',
    name: 'an opaque marker implies its directory',
    layers: [[file('a')], [opaque('d/e')]],
    want: { a: 'file 644 ', d: 'implied', 'd/e': 'implied' },
  },
  {
    id: 'B-078',
    name: 'an opaque marker goes through a link and leaves a file alone',
    layers: [
      [dir('d'), file('d/x'), symlink('l', 'd'), file('f', '1')],
      [opaque('l'), opaque('f')],
    ],
    want: { d: 'dir 755', f: 'file 644 1', l: '-> d' },
  },
  ...bothOrders('B-078', 'a link that the layer replaces by a directory is not emptied', {
    lower: [dir('usr'), dir('usr/lib'), file('usr/lib/x', '1'), symlink('lib', 'usr/lib')],
    upper: [dir('lib'), file('lib/y', '2')],
    whiteouts: [opaque('lib'), whiteout('lib/x')],
    want: {
      lib: 'dir 755',
      'lib/y': 'file 644 2',
      usr: 'dir 755',
      'usr/lib': 'dir 755',
      'usr/lib/x': 'file 644 1',
    },
  }),
  ...bothOrders('B-078', 'a link that the layer hides is not emptied either', {
    lower: [dir('d'), file('d/x', '1'), symlink('l', 'd')],
    upper: [file('l/y', '2')],
    whiteouts: [opaque('l'), whiteout('l')],
    want: { d: 'dir 755', 'd/x': 'file 644 1', l: 'implied', 'l/y': 'file 644 2' },
  }),
  ...bothOrders('B-079', 'explicit and opaque whiteouts mix', {
    lower: [dir('d'), file('d/x'), file('e'), dir('g'), file('g/h')],
    upper: [],
    whiteouts: [opaque('d'), whiteout('e'), whiteout('g/h'), whiteout('d/x')],
    want: { d: 'dir 755', g: 'dir 755' },
  }),
  {
    id: 'B-080',
    name: 'a whiteout of nothing is no error and makes nothing',
    layers: [[file('f')], [whiteout('x'), whiteout('y/z'), whiteout('f/g')]],
    want: { f: 'file 644 ' },
  },
  {
    id: 'B-085',
    name: 'metadata of aufs is not shown, but can be linked to (B-086)',
    layers: [
      [
        dir('.wh..wh.plnk'),
        file('.wh..wh.plnk/12.1', 'body'),
        file('.wh..wh.aufs'),
        hardlink('a', '.wh..wh.plnk/12.1'),
        hardlink('.wh..wh.plnk/13.1', 'a'),
        hardlink('b', '.wh..wh.plnk/13.1'),
        opaque('.wh..wh.orph'),
      ],
    ],
    want: { a: 'file 644 body', b: 'file 644 body = a' },
    report: [
      'aufs-metadata 0 .wh..wh.plnk',
      'aufs-metadata 0 .wh..wh.plnk/12.1',
      'aufs-metadata 0 .wh..wh.aufs',
      'aufs-metadata 0 .wh..wh.plnk/13.1',
    ],
  },
  {
    id: 'B-087',
    name: 'a whiteout of a whiteout name hides nothing',
    layers: [[dir('a'), file('a/foo')], [whiteout('a/.wh.foo')]],
    want: { a: 'dir 755', 'a/foo': 'file 644 ' },
  },
  {
    id: 'B-088',
    name: 'add, remove, add',
    layers: [[file('a', '1')], [whiteout('a')], [file('a', '3')]],
    want: { a: 'file 644 3' },
  },
  {
    id: 'B-089',
    name: 'a whiteout goes through symlinked parents',
    layers: [
      [dir('usr'), file('usr/x'), file('usr/y', '1'), symlink('lib', 'usr')],
      [whiteout('lib/x')],
    ],
    want: { lib: '-> usr', usr: 'dir 755', 'usr/y': 'file 644 1' },
  },
  {
    id: 'B-090',
    name: 'a whiteout in the base layer is hidden and does nothing',
    layers: [[whiteout('x'), file('x', '1'), opaque('')]],
    want: { x: 'file 644 1' },
  },
  {
    id: 'B-091',
    name: 'the other name of a hard link keeps the content',
    layers: [[file('a', '1'), hardlink('b', 'a')], [whiteout('a')]],
    want: { b: 'file 644 1' },
  },
  ...bothOrders('B-091', 'a hard link keeps what a whiteout of its own layer hides', {
    lower: [dir('d'), file('d/a', '1')],
    upper: [hardlink('b', 'd/a')],
    whiteouts: [whiteout('d')],
    want: { b: 'file 644 1' },
    report: ['hard-link-to-hidden 1 b'],
  }),
  {
    id: 'B-092',
    name: 'a device 0:0 is a device, and reported (S-30)',
    layers: [[file('a', '1'), dir('d'), char('d/a', 0, 0)]],
    want: { a: 'file 644 1', d: 'dir 755', 'd/a': 'char 0:0' },
    report: ['overlay-whiteout 0 d/a'],
  },
  { id: 'A-107', name: 'no layers give an empty root', layers: [], want: {} },
  {
    id: 'B-019',
    name: 'a name of 255 bytes is fine',
    layers: [[file(LONG, '1')]],
    want: { [LONG]: 'file 644 1' },
  },
]

for (const { id, name, layers, want, report } of trees) {
  t.test(`applyLayers() ${id}: ${name}`, async (t) => {
    const built = layers.map((parts) => layer(...parts))
    const applied = union(built)
    t.strictSame(await sketch(applied.root, built), want)
    t.strictSame(
      applied.report.entries.map(({ kind, layer: number, path }) => `${kind} ${number} ${path}`),
      report ?? [],
    )
  })
}

const refusals: readonly { id: string; layers: readonly (readonly LayerPart[])[]; why: RegExp }[] =
  [
    { id: 'B-040', layers: [[symlink('', '/host')]], why: /"" of layer 0: the root/ },
    { id: 'B-041', layers: [[], [file('', 'x')]], why: /layer 1: the root/ },
    { id: 'S-03', layers: [[hardlink('', 'x')]], why: /the root/ },
    {
      id: 'B-057',
      layers: [[symlink('a', 'b'), symlink('b', 'a')], [file('a/x')]],
      why: /"a\/x" of layer 1: its path goes through more than 40 symbolic links/,
    },
    { id: 'B-057', layers: [[symlink('a', 'a')], [whiteout('a/x')]], why: /more than 40/ },
    { id: 'B-057', layers: [[symlink('a', 'a')], [opaque('a')]], why: /more than 40/ },
    { id: 'B-057', layers: [[symlink('a', 'a')], [hardlink('b', 'a/x')]], why: /more than 40/ },
    { id: 'B-064', layers: [[hardlink('a', 'b')]], why: /its target "b" is neither/ },
    { id: 'B-064', layers: [[dir('d'), hardlink('a', 'd')]], why: /its target "d" is a directory/ },
    { id: 'B-064', layers: [[hardlink('a', 'd'), dir('d')]], why: /its target "d" is a directory/ },
    { id: 'B-064', layers: [[hardlink('a', 'b'), hardlink('b', 'a')]], why: /is neither/ },
    { id: 'B-064', layers: [[hardlink('a', 'a')]], why: /is neither/ },
    {
      id: 'B-064',
      layers: [[dir('d'), file('d/x'), hardlink('d', 'd/x')]],
      why: /its target "d\/x" is neither/,
    },
    {
      id: 'B-064',
      layers: [[file('a')], [whiteout('a')], [hardlink('b', 'a')]],
      why: /is neither/,
    },
    { id: 'B-086', layers: [[hardlink('a', '.wh..wh.plnk/1.2')]], why: /is neither/ },
    {
      id: 'S-04',
      layers: [[tampered(hardlink('a', 'x'), { linkTarget: byteStringOf('../../etc/shadow') })]],
      why: /its target "..\/..\/etc\/shadow" is neither/,
    },
    { id: 'S-01', layers: [[at('../x')]], why: /an empty part, "." or ".."/ },
    { id: 'S-01', layers: [[at('/abs')]], why: /an empty part/ },
    { id: 'S-01', layers: [[at('a/../../x')]], why: /an empty part/ },
    { id: 'S-01', layers: [[at('a//b')]], why: /an empty part/ },
    { id: 'S-01', layers: [[at('a/.')]], why: /an empty part/ },
    { id: 'S-01', layers: [[at('a\0b')]], why: /a NUL byte/ },
    { id: 'S-23', layers: [[at('a/.wh.b/c')]], why: /"\.wh\.b" in its path/ },
    { id: 'S-23', layers: [[at('.wh.')]], why: /the name of a whiteout/ },
    {
      id: 'S-23',
      layers: [[tampered(whiteout('x'), { path: '' as ByteString })]],
      why: /the root/,
    },
    {
      id: 'S-23',
      layers: [[tampered(opaque('x'), { path: byteStringOf('.wh.x') })]],
      why: /whiteout/,
    },
    { id: 'B-084', layers: [[symlink('l', '.wh.x'), file('l/y')]], why: /named like a whiteout/ },
    { id: 'B-019', layers: [[at('n'.repeat(256))]], why: /longer than 255 bytes/ },
    { id: 'B-019', layers: [[symlink('l', 'n'.repeat(256)), file('l/y')]], why: /longer than 255/ },
    { id: 'B-019', layers: [[at('ab/'.repeat(1366).slice(0, -1))]], why: /longer than 4095 bytes/ },
    { id: 'B-014', layers: [[symlink('l', '')]], why: /needs a target/ },
    { id: 'B-014', layers: [[symlink('l', 'x'.repeat(4096))]], why: /longer than 4095 bytes/ },
    { id: 'B-014', layers: [[symlink('l', 'a\0b')]], why: /a NUL byte/ },
    { id: 'B-011', layers: [[char('c', 4096, 0)]], why: /device number/ },
    { id: 'B-011', layers: [[block('c', 0, 2 ** 20)]], why: /device number/ },
    { id: 'S-22', layers: [[file('a', '', { uid: 2 ** 32 })]], why: /owner/ },
    { id: 'S-22', layers: [[tampered(file('a'), { gid: -1 })]], why: /owner/ },
    { id: 'S-22', layers: [[tampered(file('a'), { size: -1 })]], why: /size/ },
    { id: 'S-21', layers: [[tampered(file('a', 'x'), { size: 4096 })]], why: /outside its layer/ },
    {
      id: 'S-21',
      layers: [[tampered(sparse('a', 2000, [{ offset: 1500, data: 'x' }]), { size: 1500 })]],
      why: /map of data/,
    },
    {
      id: 'S-21',
      layers: [
        [
          sparse('a', 2000, [
            { offset: 10, data: 'xy' },
            { offset: 11, data: 'x' },
          ]),
        ],
      ],
      why: /map of data/,
    },
  ]

for (const [index, { id, layers, why }] of refusals.entries()) {
  t.test(`applyLayers() ${id}: refuses ${index}`, async (t) => {
    t.throws(() => union(layers.map((parts) => layer(...parts))), {
      code: 'TAR_CORRUPT',
      message: why,
    })
  })
}

t.test('applyLayers() A-114: applies a layer twice and has one device for it', async (t) => {
  const a = layer(file('x', 'from a'), file('y', 'y'))
  const b = layer(whiteout('x'), file('y', 'other'))
  const stack = [a, b, a]
  const applied = union(stack)
  t.strictSame(await sketch(applied.root, stack), { x: 'file 644 from a', y: 'file 644 y' })
  t.equal(applied.devices.length, 2)
  t.equal(applied.layerIds.length, 3)
  t.equal(applied.layerIds[0], applied.layerIds[2])
  t.strictSame(applied.counts, { inodes: 3, files: 2, bytes: 7, notUtf8: 0 })
})

t.test('applyLayers() B-004: keeps times to the nanosecond, before 1970 too', async (t) => {
  const { root } = union([layer(file('a', '', { mtime: -1.5 }), file('b', '', { mtime: 2 ** 33 }))])
  const times = [...root.children!.values()].map((node) => [
    node.mtimeSeconds,
    node.mtimeNanoseconds,
  ])
  t.strictSame(times, [
    [-2, 500_000_000],
    [2 ** 33, 0],
  ])
})

t.test(
  'applyLayers() B-009, B-010: drops xattrs that cannot be kept and says so once',
  async (t) => {
    const acl = (tag: number): Buffer => Buffer.from([2, 0, 0, 0, tag, 0, 7, 0, 255, 255, 255, 255])
    const kept = {
      'user.x': Buffer.from([0, 255]),
      'trusted.x': '1',
      'security.capability': '2',
      'system.posix_acl_access': acl(1),
    }
    const built = layer(
      file('f', '', {
        xattrs: {
          ...kept,
          'security.selinux': 'label',
          'trusted.overlay.redirect': '/etc',
          'user.overlay.opaque': 'y',
          'system.nfs4_acl': 'x',
          'system.posix_acl_default': acl(1),
          'user.': 'x',
          [`user.${'n'.repeat(251)}`]: 'x',
          'user.big': Buffer.alloc(65536),
        },
      }),
      file('g', '', { xattrs: { 'security.selinux': 'label', 'system.posix_acl_access': acl(3) } }),
      symlink('l', 'f', { xattrs: { 'user.x': '1', 'security.x': '2' } }),
      fifo('p', { xattrs: { 'user.x': '1' } }),
    )
    const { root, report } = union([built])
    const names = (name: string): string[] => [
      ...(root.children!.get(byteStringOf(name))!.xattrs?.keys() ?? []),
    ]
    t.strictSame(names('f'), Object.keys(kept))
    t.strictSame(names('g'), [])
    t.strictSame(names('l'), ['security.x'])
    t.strictSame(names('p'), [])
    t.strictSame(
      report.entries.map(({ kind, path, detail }) => [kind, path, detail.slice(0, 60)]),
      [
        ['xattr-dropped', 'f', "security.selinux: a label of another machine's policy (2 entri"],
        ['xattr-dropped', 'f', 'trusted.overlay.redirect: overlayfs would obey it'],
        ['xattr-dropped', 'f', 'user.overlay.opaque: overlayfs would obey it'],
        ['xattr-dropped', 'f', 'system.nfs4_acl: EROFS has no such name prefix'],
        ['xattr-dropped', 'f', 'system.posix_acl_default: only directories have a default acces'],
        ['xattr-dropped', 'f', 'user.: its name is empty'],
        ['xattr-dropped', 'f', `user.${'n'.repeat(55)}`],
        ['xattr-dropped', 'f', 'user.big: its value is longer than 65535 bytes'],
        ['xattr-dropped', 'g', 'system.posix_acl_access: it is not a valid access control lis'],
        ['xattr-dropped', 'l', 'user.x: only files and directories have user attributes (2 ent'],
      ].map(([kind, path, detail]) => [kind, path, detail!.slice(0, 60)]),
    )
  },
)

t.test('applyLayers() keeps the xattrs of one inode within what the kernel lists', async (t) => {
  const xattrs = Object.fromEntries(
    Array.from({ length: 2000 }, (_, n) => [`user.${'n'.repeat(60)}${n}`, 'v']),
  )
  const { root, report } = union([layer(file('f', '', { xattrs }))])
  const kept = [...root.children!.get(byteStringOf('f'))!.xattrs!.keys()]
  t.ok(kept.reduce((sum, name) => sum + name.length + 1, 0) <= 65536)
  t.ok(kept.length > 900)
  t.equal(kept.length + report.entries.reduce((sum, { detail }) => sum + countIn(detail), 0), 2000)
})

t.test('applyLayers() passes the notes of a layer on', async (t) => {
  const note = { kind: 'global-header', path: byteStringOf('g'), detail: 'ignored' }
  const { report } = union([layer(), layerWith({ notes: [note] })])
  t.strictSame(report, { entries: [{ ...note, layer: 1 }], total: 1 })
})

t.test('applyLayers() cuts a long report and counts on', async (t) => {
  const parts = Array.from({ length: 5003 }, () => file('a', ''))
  const { report } = union([layer(...parts)])
  t.equal(report.entries.length, 5000)
  t.equal(report.total, 5002)
})

t.test('applyLayers() S-18: stays within its limits', async (t) => {
  const limits = { maxEntries: 10, maxInodes: 20, maxDepth: 8, maxLinkParts: 30 }
  const many = Array.from({ length: 11 }, (_, n) => file(`f${n}`))
  t.throws(() => union([layer(...many)], limits), { code: 'LIMIT_EXCEEDED', message: /10 entries/ })
  const deep = Array.from({ length: 3 }, (_, n) => file(`${n}/b/c/d/e/f/g`))
  t.throws(() => union([layer(...deep)], limits), { code: 'LIMIT_EXCEEDED', message: /20 inodes/ })
  t.throws(() => union([layer(file('a/b/c/d/e/f/g/h/i'))], limits), { code: 'LIMIT_EXCEEDED' })
  const through = [symlink('l', `${'./'.repeat(15)}d`), file('l/a'), dir('x'), file('l/b')]
  t.throws(() => union([layer(...through)], limits), { code: 'LIMIT_EXCEEDED', message: /links/ })
})

t.test('applyLayers() S-18: goes as deep as links lead without running out of stack', async (t) => {
  // Every link leads 1,300 levels further down than the one before.
  const down = 'd/'.repeat(1300)
  const parts = [file(`${down}x`), symlink('l0', down), file(`l0/${down}x`)]
  const applied = union([layer(...parts), layer(symlink('l1', `l0/${down}`), file(`l1/${down}x`))])
  t.equal(applied.counts.inodes, 1 + 3 * 1300 + 3 + 2)
  const deeper = layer(symlink('l2', `l1/${down}`), file(`l2/${down}x`))
  const first = layer(...parts, symlink('l1', `l0/${down}`), file(`l1/${down}x`))
  t.throws(() => union([first, deeper]), { code: 'LIMIT_EXCEEDED', message: /4096 directories/ })
})

t.test(
  'applyLayers() B-020: puts sparse files that do not line up on the virtual device',
  async (t) => {
    const aligned = [{ offset: 4096, data: 'a'.repeat(4096) }]
    const odd = [
      { offset: 3, data: 'first' },
      { offset: 70_000, data: 'second'.repeat(100) },
      { offset: 5_000_000, data: 'third' },
    ]
    const built = layer(
      sparse('lined-up', 12_288, aligned),
      sparse('odd', 6_000_000, odd),
      sparse('all-hole', 1 << 30, []),
      file('plain', 'x'),
      hardlink('odd2', 'odd'),
      sparse('huge', 2 ** 40, [{ offset: 2 ** 40 - 5, data: 'tail!' }]),
    )
    const applied = union([built])
    const at = (name: string): ErofsNode => applied.root.children!.get(byteStringOf(name))!
    const devices = devicesOf(applied, [built])
    t.equal(devices.length, 2)
    t.ok(at('lined-up').extents!.every(({ device }) => device === 0))
    t.ok(at('odd').extents!.every(({ device }) => device === 1))
    t.equal(at('odd').extents!.length, 2, 'the hole between takes no place')
    t.equal(at('odd2'), at('odd'))
    t.strictSame(at('all-hole').extents, [])
    t.ok(applied.virtual.size < 1 << 26, 'a huge hole takes no place either')
    const want = Buffer.alloc(6_000_000)
    for (const { offset, data } of odd) want.write(data, offset)
    t.ok((await contentOf(at('odd'), devices)).equals(want))
    const [tail] = at('huge').extents!
    t.equal(tail!.fileOffset + tail!.length, 2 ** 40)
    const end = Buffer.alloc(8)
    await devices[1]!.read(end, tail!.deviceOffset + tail!.length - 8)
    t.equal(end.toString('latin1'), '\0\0\0tail!')
  },
)

interface Orders {
  lower: readonly LayerPart[]
  upper: readonly LayerPart[]
  whiteouts: readonly LayerPart[]
  want: Sketch
  report?: readonly string[]
}

/** The same layer with its whiteouts before and after its entries, and in reverse. */
function bothOrders(
  id: string,
  name: string,
  { lower, upper, whiteouts, want, report }: Orders,
): (typeof trees)[number][] {
  const rest = { id, want, ...(report === undefined ? {} : { report }) }
  const reversed = [...whiteouts].reverse()
  return [
    { ...rest, name: `${name} (first)`, layers: [lower, [...whiteouts, ...upper]] },
    { ...rest, name: `${name} (last)`, layers: [lower, [...upper, ...whiteouts]] },
    { ...rest, name: `${name} (reversed)`, layers: [lower, [...upper, ...reversed]] },
  ]
}

/** A file whose path did not go through the cleaning. */
function at(path: string): LayerPart {
  return tampered(file('x'), { path: byteStringOf(path) })
}

function countIn(detail: string): number {
  return Number(/\((\d+) entries\)/.exec(detail)?.[1] ?? 1)
}

async function sketch(root: ErofsNode, layers: readonly BuiltLayer[]): Promise<Sketch> {
  const applied = union(layers)
  const devices = devicesOf(applied, layers)
  const found: [string, ErofsNode][] = []
  const waiting: [string, ErofsNode][] = [['', root]]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (next[0] !== '' || next[1].mtimeSeconds !== 0) found.push(next)
    for (const [name, node] of next[1].children ?? []) {
      waiting.push([next[0] === '' ? name : `${next[0]}/${name}`, node])
    }
  }
  found.sort(([a], [b]) => (a < b ? -1 : 1))
  const first = new Map<ErofsNode, string>()
  const lines: [string, string][] = []
  for (const [path, node] of found) {
    const other = first.get(node)
    if (other === undefined) first.set(node, path)
    lines.push([path, (await line(node, devices)) + (other === undefined ? '' : ` = ${other}`)])
  }
  return Object.fromEntries(lines)
}

async function line(node: ErofsNode, devices: Parameters<typeof contentOf>[1]): Promise<string> {
  const mode = (node.mode & 0o7777).toString(8)
  const xattrs = [...(node.xattrs ?? [])].map(([name, value]) => ` ${name}=${value.toString()}`)
  const rdev = `${node.devMajor}:${node.devMinor}`
  switch (node.mode & 0o170000) {
    case 0o040000:
      return node.mtimeSeconds === 0 ? 'implied' : `dir ${mode}${xattrs.join('')}`
    case 0o100000:
      return `file ${mode} ${(await contentOf(node, devices)).toString()}${xattrs.join('')}`
    case 0o120000:
      return `-> ${node.target}`
    case 0o020000:
      return `char ${rdev}`
    case 0o060000:
      return `block ${rdev}`
    default:
      return 'fifo'
  }
}
