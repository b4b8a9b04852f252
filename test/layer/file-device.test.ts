import { appendFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { OcimountError } from '../../src/errors.js'
import { DirectDevice } from '../../src/layer/file-device.js'
import { sampleBytes } from '../helpers/streams.js'
import { writeBlob } from './blobs.js'

const CONTENT = sampleBytes(500_000)

async function deviceIn(dir: string): Promise<{ device: DirectDevice; path: string }> {
  const path = join(dir, 'blob')
  const { region } = writeBlob(path, CONTENT, { around: 100 })
  return { device: await DirectDevice.open(region), path }
}

t.test('DirectDevice reads its region and nothing else', async (t) => {
  const { device } = await deviceIn(t.testdir())
  t.equal(device.size, CONTENT.length)
  const reads = [0, 1, 4095, 250_000, 499_990].map(async (deviceOffset) => {
    const target = Buffer.alloc(Math.min(9999, CONTENT.length - deviceOffset))
    await device.read(target, deviceOffset)
    t.ok(target.equals(CONTENT.subarray(deviceOffset, deviceOffset + target.length)))
  })
  await Promise.all(reads)
  await device.read(Buffer.alloc(0), CONTENT.length)
  for (const deviceOffset of [-1, 0.5, CONTENT.length, NaN]) {
    await t.rejects(device.read(Buffer.alloc(1), deviceOffset), { code: 'INTERNAL' })
  }
  await device.close()
  await device.close()
  await t.rejects(device.read(Buffer.alloc(1), 0), { code: 'INTERNAL' })
})

for (const { name, change } of [
  {
    name: 'a byte changed',
    change: (path: string) => {
      writeFileSync(path, Buffer.alloc(500_200))
    },
  },
  {
    name: 'bytes were appended',
    change: (path: string) => {
      appendFileSync(path, 'x')
    },
  },
  {
    name: 'it was cut',
    change: (path: string) => {
      truncateSync(path, 1000)
    },
  },
  {
    name: 'its mtime was set',
    change: (path: string) => {
      utimesSync(path, 1, 1)
    },
  },
  {
    name: 'it was removed',
    change: (path: string) => {
      rmSync(path)
    },
  },
]) {
  t.test(`DirectDevice fails for good after ${name}`, async (t) => {
    const { device, path } = await deviceIn(t.testdir())
    t.teardown(() => device.close())
    await device.read(Buffer.alloc(10), 0)
    change(path)
    await t.rejects(device.read(Buffer.alloc(10), 0), { code: 'SOURCE_CHANGED' })
    await t.rejects(device.read(Buffer.alloc(10), 400_000), { code: 'SOURCE_CHANGED' })
    t.match(device.failure, { code: 'SOURCE_CHANGED' })
  })
}

t.test('DirectDevice fails for good once it is told to', async (t) => {
  const { device } = await deviceIn(t.testdir())
  t.teardown(() => device.close())
  const failure = new OcimountError('DIGEST_MISMATCH', 'Cannot use layer x: wrong')
  const underWay = device.read(Buffer.alloc(100_000), 0)
  device.fail(failure)
  device.fail(new OcimountError('INTERNAL', 'Cannot do another thing: later'))
  await t.rejects(underWay, failure, 'also what was under way')
  await t.rejects(device.read(Buffer.alloc(1), 0), failure)
})

t.test('DirectDevice.open() refuses a file in another state than it was found in', async (t) => {
  const dir = t.testdir({ link: t.fixture('symlink', 'blob') })
  const { region } = writeBlob(join(dir, 'blob'), CONTENT)
  const device = await DirectDevice.open({ ...region, path: join(dir, 'link') })
  await device.close()
  appendFileSync(region.path, 'x')
  await t.rejects(DirectDevice.open(region), { code: 'SOURCE_CHANGED' })
  rmSync(region.path)
  await t.rejects(DirectDevice.open(region), { code: 'SOURCE_CHANGED' })
})
