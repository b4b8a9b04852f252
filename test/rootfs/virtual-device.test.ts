import t from 'tap'
import { VirtualDevice } from '../../src/rootfs/virtual-device.js'
import { virtualTable, type VirtualRow } from '../../src/rootfs/virtual-table.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { memoryDevice } from './describe-tree.js'

const layers = [Buffer.from('abcdefghij'), Buffer.from('0123456789')]
const rows: VirtualRow[] = [
  { virtualOffset: 2, length: 3, device: 0, deviceOffset: 4 },
  { virtualOffset: 5, length: 2, device: 1, deviceOffset: 0 },
  { virtualOffset: 10, length: 4, device: 0, deviceOffset: 0 },
]
const whole = Buffer.from('\0\0efg01\0\0\0abcd\0\0', 'latin1')

function open(): VirtualDevice {
  return new VirtualDevice(virtualTable(whole.length, rows), layers.map(memoryDevice))
}

t.test('VirtualDevice.read() gives every stretch, zeros between the rows', async (t) => {
  const device = open()
  t.equal(device.size, 16)
  for (let from = 0; from <= whole.length; from++) {
    for (let to = from; to <= whole.length; to++) {
      const target = Buffer.alloc(to - from, 0x55)
      await device.read(target, from)
      if (!target.equals(whole.subarray(from, to))) t.fail(`${from} to ${to}`)
    }
  }
})

t.test('VirtualDevice.read() puts many small rows together', async (t) => {
  const random = new SeededRandom(7)
  const source = random.bytes(5000)
  const scattered: VirtualRow[] = []
  const want = Buffer.alloc(6000)
  for (let at = 0; at < 5900; at += 1 + random.below(40)) {
    const length = 1 + random.below(20)
    const deviceOffset = random.below(4900)
    source.copy(want, at, deviceOffset, deviceOffset + length)
    scattered.push({ virtualOffset: at, length, device: 0, deviceOffset })
    at += length
  }
  t.ok(scattered.length > 150)
  const device = new VirtualDevice(virtualTable(6000, scattered), [memoryDevice(source)])
  const target = Buffer.alloc(6000, 0x55)
  await device.read(target, 0)
  t.ok(target.equals(want))
})

t.test(
  'VirtualDevice.read() refuses what lies outside, and everything once it is closed',
  async (t) => {
    const device = open()
    await t.rejects(device.read(Buffer.alloc(1), 16), { code: 'INTERNAL', message: /has 16 bytes/ })
    await t.rejects(device.read(Buffer.alloc(17), 0), { code: 'INTERNAL' })
    await t.rejects(device.read(Buffer.alloc(1), -1), { code: 'INTERNAL' })
    await device.close()
    await t.rejects(device.read(Buffer.alloc(1), 0), { code: 'INTERNAL', message: /closed/ })
  },
)

t.test('VirtualDevice.read() waits for all reads before it passes a failure on', async (t) => {
  let release = (): void => undefined
  const slow = memoryDevice(layers[1]!)
  slow.read = (target) =>
    new Promise((resolve) => {
      release = () => {
        target.fill(0x31)
        resolve()
      }
    })
  const broken = { ...memoryDevice(layers[0]!), read: () => Promise.reject(new Error('gone')) }
  const device = new VirtualDevice(virtualTable(whole.length, rows), [broken, slow])
  let isDone = false
  const read = device.read(Buffer.alloc(16), 0).finally(() => {
    isDone = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  t.notOk(isDone)
  release()
  await t.rejects(read, { message: 'gone' })
})

t.test('VirtualDevice.read() says when a layer is not there', async (t) => {
  const device = new VirtualDevice(virtualTable(whole.length, rows), [memoryDevice(layers[0]!)])
  await t.rejects(device.read(Buffer.alloc(16), 0), { message: /layer 1 of 1/ })
})
