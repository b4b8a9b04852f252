// Making pieces again from the spans of a gzip blob.

import { fstatSync, readFileSync, writeSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import {
  addon,
  addonSkipReason,
  fillOptions,
  indexBlob,
  layerLikeBytes,
  openFixture,
  PIECE_SIZE,
} from '../helpers/native-addon.js'

const skip = addonSkipReason()
const DEVICE = layerLikeBytes(6 * PIECE_SIZE + 4321, 7)
const PIECES = 7
const BLOBS = {
  'level 1': gzipSync(DEVICE, { level: 1 }),
  'level 9': gzipSync(DEVICE, { level: 9 }),
  stored: gzipSync(DEVICE, { level: 0 }),
  'two members and padding': Buffer.concat([
    gzipSync(DEVICE.subarray(0, 3_000_001)),
    gzipSync(DEVICE.subarray(3_000_001)),
    Buffer.alloc(512),
  ]),
}

for (const [name, blob] of Object.entries(BLOBS)) {
  t.test(`every piece, alone and together: ${name}`, { skip }, async (t) => {
    const fd = openFixture(t, blob)
    const stretch = { fd, offset: 0, length: blob.length }
    const dataFd = openFixture(t, Buffer.alloc(0), 'r+')
    for (const spanSize of [32_768, 3 * PIECE_SIZE]) {
      const { result: index } = await indexBlob(fd, blob.length, { spanSize })
      for (let piece = PIECES - 1; piece >= 0; piece--) {
        const options = fillOptions(stretch, index, { firstPiece: piece, count: 1, dataFd })
        const { status, message, bytes } = await addon().fillPieces(options)
        t.equal(`${status} ${message}`, 'done ')
        const want = DEVICE.subarray(piece * PIECE_SIZE, (piece + 1) * PIECE_SIZE)
        t.ok(bytes?.equals(want), `piece ${piece}`)
      }
      t.ok(readFileSync(`/proc/self/fd/${dataFd}`).equals(DEVICE), 'the file has them all')
      const all = fillOptions(stretch, index, { firstPiece: 0, count: PIECES, dataFd: -1 })
      const { bytes } = await addon().fillPieces(all)
      t.ok(bytes?.equals(DEVICE), 'all at once, nowhere written')
    }
  })
}

t.test('nothing is believed', { skip }, async (t) => {
  const blob = BLOBS['level 9']
  const fd = openFixture(t, blob, 'r+')
  const stretch = { fd, offset: 0, length: blob.length }
  const dataFd = openFixture(t, Buffer.alloc(0), 'r+')
  const { result: index } = await indexBlob(fd, blob.length)
  const options = fillOptions(stretch, index, { firstPiece: 3, count: 1, dataFd })
  const statusOf = async (changes: Partial<typeof options>): Promise<string> => {
    const { status, bytes } = await addon().fillPieces({ ...options, ...changes })
    t.equal(bytes, undefined)
    t.equal(fstatSync(dataFd).size, 0, 'nothing was written')
    return status
  }

  const otherDigest = index.pieceDigests.subarray(0, 32)
  t.equal(await statusOf({ pieceDigests: otherDigest }), 'bad-piece')
  for (const changes of [
    { blob: { ...stretch, length: 100 } },
    { firstPiece: 6 },
    { firstPiece: 2 ** 53 - 1 },
    { deviceSize: 0 },
    { spans: Buffer.alloc(0) },
    { spans: Buffer.alloc(64, 0xff) },
    { spans: Buffer.alloc(65) },
    { compressedEnd: 2 ** 53 - 1 },
    { compressedEnd: 0 },
  ]) {
    t.not(await statusOf(changes), 'done', JSON.stringify(Object.keys(changes)))
  }
  await t.rejects(async () => addon().fillPieces({ ...options, bitsEnd: 8 }), /bitsEnd/)

  const at = Number(options.spans.readBigUInt64LE(8)) + 100
  writeSync(fd, Buffer.from([blob[at]! ^ 1]), 0, 1, at)
  t.equal(await statusOf({}), 'bad-span')
})

t.test('a disk that takes nothing still gives the bytes', { skip }, async (t) => {
  const blob = BLOBS['level 1']
  const fd = openFixture(t, blob)
  const { result: index } = await indexBlob(fd, blob.length)
  const options = fillOptions({ fd, offset: 0, length: blob.length }, index, {
    firstPiece: 1,
    count: 2,
    // Open for reading alone.
    dataFd: fd,
  })
  const { status, errno, bytes } = await addon().fillPieces(options)
  t.equal(status, 'write-error')
  t.not(errno, 0)
  t.ok(bytes?.equals(DEVICE.subarray(PIECE_SIZE, 3 * PIECE_SIZE)))
})
