// Direct mounts without the command: what the kernel reads from plain files, and what is refused.

import { closeSync, fstatSync, ftruncateSync, openSync, readdirSync, writeSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { ErofsImage } from '../../src/erofs/reader.js'
import { writeErofs } from '../../src/erofs/writer.js'
import type { LayerDevice } from '../../src/layer/device.js'
import type { MountTarget } from '../../src/mount/driver.js'
import { mountAt, readMountinfo } from '../../src/mount/mountinfo.js'
import { kernelSkipReason, snapshotMount } from '../helpers/erofs-kernel.js'
import { contiguous, diffSnapshots, directory, file, snapshotImage } from '../helpers/erofs-tree.js'
import { addonSkipReason, fixtureDirectory } from '../helpers/native-addon.js'
import { randomTree } from '../helpers/random-erofs-tree.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { memoryDevice, run, serve } from '../helpers/with-mount.js'

const skip = kernelSkipReason() || addonSkipReason()
const SEED = Number(process.env['OCIMOUNT_TEST_SEED'] ?? 20_261_127)
const random = new SeededRandom(SEED)
const CONTENTS = [random.bytes(600_064), random.bytes(70_144), random.bytes(4096)]

interface Archive {
  readonly fd: number
  readonly device: (offset: number, size: number) => LayerDevice
}

/** A file with the given bytes, and devices in it. */
function archive(t: Test, content: Buffer): Archive {
  const fd = openSync(join(fixtureDirectory(t), 'archive'), 'w+')
  t.teardown(() => {
    closeSync(fd)
  })
  writeSync(fd, content)
  const { size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true })
  const whole = { fd, fileSize: Number(size), mtimeNs, ctimeNs }
  return {
    fd,
    device: (offset, size) => ({
      ...memoryDevice(content.subarray(offset, offset + size)),
      native: () => ({ kind: 'region', offset, size, ...whole }),
    }),
  }
}

function targetOver(
  root: Parameters<typeof writeErofs>[0],
  devices: readonly LayerDevice[],
): MountTarget {
  const table = devices.map(({ size }, index) => ({ tag: `layer-${index}`, size }))
  return { image: new ErofsImage(writeErofs(root, table).image), devices }
}

async function cacheOf(t: Test): Promise<Cache> {
  return Cache.open({ dir: join(fixtureDirectory(t), 'cache') })
}

t.test(`layers of two files have the tree of the image (seed ${SEED})`, { skip }, async (t) => {
  const cache = await cacheOf(t)
  const [first = Buffer.of(), second = Buffer.of(), third = Buffer.of()] = CONTENTS
  const one = archive(t, Buffer.concat([random.bytes(1536), first, third]))
  const two = archive(t, Buffer.concat([second, random.bytes(100)]))
  const devices = [
    one.device(1536, first.length),
    two.device(0, second.length),
    one.device(1536 + first.length, third.length),
  ]
  for (let round = 0; round < 2; round++) {
    const target = targetOver(randomTree(random, CONTENTS), devices)
    const mount = await serve(t, target, { direct: cache })
    t.match(mount, { isDirect: true, driver: 'kernel' })
    const seen = await snapshotMount(mount.mountpoint)
    t.strictSame(diffSnapshots(seen, snapshotImage(target.image, CONTENTS)), [], `round ${round}`)
    await mount.unmount()
    await mount.finished
  }
  t.strictSame(readdirSync(cache.tmpPath), [], 'the metadata has no name')
})

t.test('an image without layers mounts', { skip }, async (t) => {
  const { mountpoint } = await serve(t, targetOver(directory({ empty: file(0) }), []), {
    direct: await cacheOf(t),
  })
  t.match(await run(['ls', mountpoint]), { stdout: 'empty\n' })
})

t.test('what the kernel cannot read where it lies is refused', { skip }, async (t) => {
  const direct = await cacheOf(t)
  const content = Buffer.alloc(2000, 'a')
  const plain = archive(t, content)
  const root = directory({ all: contiguous(0, 900) })
  const code = 'IMAGE_UNSUPPORTED'
  const virtual: LayerDevice = {
    ...memoryDevice(content),
    native: () => ({ kind: 'virtual', size: content.length, rows: Buffer.of() }),
  }
  const cases: readonly (readonly [LayerDevice, RegExp])[] = [
    [memoryDevice(content), /layer layer-0 is not plain/],
    [virtual, /a sparse file that the kernel cannot read/],
    [plain.device(100, 900), /layer layer-0 does not begin on a block/],
    [plain.device(1024, 900), /ends with its file, within a block/],
  ]
  for (const [device, message] of cases) {
    await t.rejects(serve(t, targetOver(root, [device]), { direct }), { code, message })
  }
  const usage = { code: 'USAGE', message: /only the driver kernel can/ }
  const target = targetOver(root, [plain.device(0, 900)])
  await t.rejects(serve(t, target, { direct, driver: 'fuse' }), usage)
  writeSync(plain.fd, 'b', 5000)
  await t.rejects(serve(t, target, { direct }), { code: 'SOURCE_CHANGED' })
})

t.test('umount(8) by hand ends it', { skip }, async (t) => {
  const mount = await serve(t, targetOver(directory({}), []), { direct: await cacheOf(t) })
  t.match(await run(['umount', mount.mountpoint]), { status: 0 })
  // Its timer does not keep the process alive by itself.
  const staying = setInterval(() => undefined, 1000)
  await mount.finished
  clearInterval(staying)
  t.equal(mountAt(await readMountinfo(), mount.mountpoint), undefined)
})

// Older kernels fill with zeros what is missing.
const isKnown = Number(release().split('.')[0]) * 1000 + Number(release().split('.')[1]) >= 6018
t.test(
  'an archive that is cut gives EIO',
  { skip: skip || (!isKnown && 'only tried with Linux 6.18') },
  async (t) => {
    const content = Buffer.alloc(1 << 20, 'a')
    const { fd, device } = archive(t, content)
    const target = targetOver(directory({ all: contiguous(0, content.length) }), [
      device(0, content.length),
    ])
    const { mountpoint } = await serve(t, target, { direct: await cacheOf(t) })
    ftruncateSync(fd, 1000)
    t.match(await run(['cat', join(mountpoint, 'all')]), { status: 1, stdout: '', stderr: /Input/ })
  },
)
