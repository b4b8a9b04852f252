// native-server.js KIND MOUNTPOINT stay|exit: mounts a file `end` whose bytes never come. Prints `mounted`, and `miss` when
// they are asked for.

import { spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeErofs } from '../../src/erofs/writer.js'
import { loadNative, type NativeDevice } from '../../src/native.js'
import { directory, file } from './erofs-tree.js'

const [kind, mountpoint = '', then] = process.argv.slice(2)
const native = loadNative()
if (native === undefined) throw new Error('no addon')

const tree = directory({
  end: file(100, [{ fileOffset: 0, device: 0, deviceOffset: 0, length: 100 }]),
})
const metadata = writeErofs(tree, [{ tag: 'layer', size: 4096 }]).image
const first: NativeDevice = { kind: 'memory', size: metadata.length, bytes: metadata }
const fd = native.openFuseDevice()
new native.FuseServer({
  fd,
  kind: kind === 'flat' ? 'flat' : 'erofs',
  metadata: kind === 'flat' ? undefined : metadata,
  devices: [
    ...(kind === 'flat' ? [first] : []),
    {
      ...{ kind: 'pieces', size: 4096, fd: openSync('/dev/null', 'r') },
      ...{ state: new Uint8Array(1), use: new Uint8Array(0), hasParts: false },
    },
  ],
  threads: 4,
  checksAccess: false,
  onMiss: () => {
    console.log('miss')
    if (then === 'exit') process.exit(7)
  },
  onFault: () => undefined,
})
const flags = { suid: false, dev: false, noexec: false }
if (kind === 'flat') {
  const sourceLink = join(tmpdir(), `ocimount-test-${process.pid}`)
  await native.mountErofs({
    fuseFd: fd,
    deviceCount: 1,
    readAheadKib: 0,
    mountpoint,
    sourceLink,
    flags,
  })
} else {
  await native.mountFuse({ fuseFd: fd, mountpoint, fsName: 'x', allowOther: true, flags })
}
console.log('mounted')
if (then === 'exit') spawn('cat', [join(mountpoint, 'end')], { stdio: 'ignore' })
