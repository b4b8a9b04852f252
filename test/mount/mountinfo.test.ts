import t from 'tap'
import { isOurMount, mountAt, parseMountinfo, readMountinfo } from '../../src/mount/mountinfo.js'

t.test('parseMountinfo() takes a line apart', async (t) => {
  const line =
    '36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n'
  t.strictSame(parseMountinfo(Buffer.from(line)), [
    {
      mountId: 36,
      parentId: 35,
      device: '98:0',
      root: '/mnt1',
      mountpoint: '/mnt2',
      options: ['rw', 'noatime'],
      fsType: 'ext3',
      source: '/dev/root',
      superOptions: 'rw,errors=continue',
    },
  ])
})

const POINTS = [
  { written: '/a\\040b\\011c\\012d\\134e\\043f', want: '/a b\tc\nd\\e#f' },
  { written: '/gr\xc3\xb6\xc3\x9fe', want: '/größe' },
  { written: '/gr\\303\\266', want: '/grö' },
  { written: '/not\\134040twice', want: '/not\\040twice' },
  { written: '/\xff', want: '/\ufffd' },
  { written: '/-', want: '/-' },
]
for (const { written, want } of POINTS) {
  t.test(`parseMountinfo() resolves ${JSON.stringify(written)}`, async (t) => {
    const line = `1 2 0:3 / ${written} rw - tmpfs none rw\n`
    t.equal(parseMountinfo(Buffer.from(line, 'latin1'))[0]?.mountpoint, want)
  })
}

t.test('parseMountinfo() copes with lines of another form', async (t) => {
  const lines = ['', 'x', '1 2 0:3 / /a rw - tmpfs', '1 2 0:3 / /a rw tmpfs none rw', '1 2 - a b']
  t.strictSame(parseMountinfo(Buffer.from(lines.join('\n'))), [])
  t.match(parseMountinfo(Buffer.from('1 2 0:3 / /a rw - tmpfs  rw')), [
    { source: '', superOptions: 'rw' },
  ])
})

t.test(
  'mountAt() gives the upper of two at one path, in whatever order they are listed',
  async (t) => {
    const lines = [
      '7 1 0:7 / /m rw - tmpfs upper-of-two rw',
      '5 7 0:5 / /m rw - fuse.ocimount top rw',
      '9 1 0:9 / /m2 rw - tmpfs other rw',
    ]
    for (const order of [lines, lines.toReversed()]) {
      const entries = parseMountinfo(Buffer.from(order.join('\n')))
      t.match(mountAt(entries, '/m'), { source: 'top' })
      t.equal(mountAt(entries, '/'), undefined)
    }
  },
)

t.test('isOurMount() goes by type, and for overlays by source', async (t) => {
  const cases: [string, string, boolean][] = [
    ['fuse.ocimount', 'app', true],
    ['overlay', 'ocimount', true],
    ['overlay', 'overlay', false],
    ['fuse.sshfs', 'ocimount', false],
    ['tmpfs', 'ocimount', false],
  ]
  for (const [fsType, source, want] of cases) {
    const [entry] = parseMountinfo(Buffer.from(`1 2 0:3 / /a rw - ${fsType} ${source} rw`))
    t.equal(isOurMount(entry!), want, `${fsType} ${source}`)
  }
})

t.test('readMountinfo() sees /proc', async (t) => {
  t.match(mountAt(await readMountinfo(), '/proc'), { fsType: 'proc' })
})
