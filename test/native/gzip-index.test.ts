// The pass over a gzip blob, against zlib and node:crypto.

import { createHash } from 'node:crypto'
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { constants as osConstants } from 'node:os'
import { join } from 'node:path'
import { constants, gunzipSync, gzipSync } from 'node:zlib'
import t from 'tap'
import {
  addon,
  addonSkipReason,
  fixtureDirectory,
  indexBlob,
  layerLikeBytes,
  openFixture,
  PIECE_SIZE,
  sha256,
} from '../helpers/native-addon.js'

const skip = addonSkipReason()

const LARGE = layerLikeBytes(5 * PIECE_SIZE + 12_345, 1)
const BLOBS: Readonly<Record<string, () => Buffer>> = {
  'stored, level 0': () => gzipSync(LARGE, { level: 0 }),
  'level 1': () => gzipSync(LARGE, { level: 1 }),
  'level 6': () => gzipSync(LARGE),
  'level 9': () => gzipSync(LARGE, { level: 9 }),
  'fixed codes': () => gzipSync(LARGE, { strategy: constants.Z_FIXED }),
  'no matches': () => gzipSync(LARGE, { strategy: constants.Z_HUFFMAN_ONLY }),
  'a small window': () => gzipSync(LARGE, { windowBits: 9, memLevel: 1 }),
  nothing: () => gzipSync(Buffer.alloc(0)),
  'one byte': () => gzipSync(Buffer.from('x')),
  'whole pieces': () => gzipSync(LARGE.subarray(0, 2 * PIECE_SIZE)),
  zeros: () => gzipSync(Buffer.alloc(40 * PIECE_SIZE)),
  'many members': () =>
    Buffer.concat(
      Array.from({ length: 90 }, (_, i) => gzipSync(LARGE.subarray(i * 50_000, (i + 1) * 50_000))),
    ),
  'zeros behind the end': () => Buffer.concat([gzipSync(LARGE), Buffer.alloc(10_240)]),
}

for (const [name, make] of Object.entries(BLOBS)) {
  t.test(`what zlib says: ${name}`, { skip }, async (t) => {
    const blob = make()
    const want = gunzipSync(blob)
    const fd = openFixture(t, blob)
    for (const spanSize of [32_768, PIECE_SIZE]) {
      const { result, output } = await indexBlob(fd, blob.length, { spanSize })
      t.equal(result.status, 'done')
      t.equal(result.message, '')
      t.equal(result.deviceSize, want.length)
      t.ok(output.equals(want), 'the output')
      t.strictSame(result.blobDigest, sha256(blob))
      t.strictSame(result.deviceDigest, sha256(want))
      const digests = Array.from({ length: Math.ceil(want.length / PIECE_SIZE) }, (_, piece) =>
        sha256(want.subarray(piece * PIECE_SIZE, (piece + 1) * PIECE_SIZE)),
      )
      t.ok(result.pieceDigests.equals(Buffer.concat(digests)), 'the digests of the pieces')
    }
  })
}

t.test('a stretch of a file, and SHA-512', { skip }, async (t) => {
  const blob = gzipSync(LARGE)
  const fd = openFixture(t, Buffer.concat([Buffer.alloc(777, 1), blob, Buffer.alloc(99, 2)]))
  const { result } = await indexBlob(fd, blob.length, {
    blob: { fd, offset: 777, length: blob.length },
    blobHash: 'sha512',
    deviceHash: 'sha512',
  })
  t.equal(result.status, 'done')
  t.strictSame(result.blobDigest, createHash('sha512').update(blob).digest())
  t.strictSame(result.deviceDigest, createHash('sha512').update(LARGE).digest())
})

t.test('a damaged blob says so, and its digest is still told', { skip }, async (t) => {
  const blob = gzipSync(LARGE)
  const flipped = (at: number): Buffer => {
    const copy = Buffer.from(blob)
    copy[at]! ^= 0x10
    return copy
  }
  const cases: readonly (readonly [string, Buffer, string])[] = [
    ['no gzip at all', LARGE.subarray(0, 70_000), 'corrupt'],
    ['a wrong magic', flipped(0), 'corrupt'],
    ['a wrong bit in the middle', flipped(blob.length >> 1), 'corrupt'],
    ['a wrong checksum', flipped(blob.length - 7), 'corrupt'],
    ['a wrong length', flipped(blob.length - 2), 'corrupt'],
    ['something behind the end', Buffer.concat([blob, Buffer.from('more')]), 'corrupt'],
    ['an early end', blob.subarray(0, blob.length >> 1), 'truncated'],
    ['an early end in the trailer', blob.subarray(0, -3), 'truncated'],
    ['an early end in the header', blob.subarray(0, 5), 'truncated'],
    ['an early end of a second member', Buffer.concat([blob, blob.subarray(0, 50)]), 'truncated'],
    ['no bytes', Buffer.alloc(0), 'truncated'],
  ]
  for (const [name, bytes, status] of cases) {
    const { result } = await indexBlob(openFixture(t, bytes), bytes.length)
    t.equal(result.status, status, name)
    t.not(result.message, '', 'a message')
    t.strictSame(result.blobDigest, sha256(bytes), 'its digest')
    t.equal(result.spans.length, 0)
  }
})

t.test('more output than allowed', { skip }, async (t) => {
  const blob = gzipSync(Buffer.alloc(30 * PIECE_SIZE))
  const { result } = await indexBlob(openFixture(t, blob), blob.length, { maxOutput: PIECE_SIZE })
  t.equal(result.status, 'too-large')
  t.strictSame(result.blobDigest, sha256(blob))
})

t.test('a file that cannot be read or is shorter than told', { skip }, async (t) => {
  const directory = openSync('/', 'r')
  t.teardown(() => {
    closeSync(directory)
  })
  const { result } = await indexBlob(directory, 1000)
  t.equal(result.status, 'io-error')
  t.equal(result.errno, osConstants.errno.EISDIR)
  t.equal(result.blobDigest, undefined)

  const blob = gzipSync(LARGE)
  const short = await indexBlob(openFixture(t, blob), blob.length + 1)
  t.equal(short.result.status, 'io-error')
})

for (const how of ['skipOutput', 'throw', 'abort'] as const) {
  t.test(`an end that JavaScript wants: ${how}`, { skip }, async (t) => {
    const blob = gzipSync(Buffer.concat(Array.from({ length: 8 }, () => LARGE)))
    let calls = 0
    const job = new (addon().GzipIndexJob)(
      {
        blob: { fd: openFixture(t, blob), offset: 0, length: blob.length },
        blobHash: 'sha256',
        deviceHash: 'sha256',
        spanSize: PIECE_SIZE,
        maxOutput: 1 << 30,
      },
      () => {
        calls++
        if (calls < 2) return
        if (how === 'throw') throw new Error('enough')
        job[how]()
      },
    )
    const result = await job.done
    t.equal(calls, 2, 'no call after it')
    t.equal(result.status, 'aborted')
    if (how === 'abort') t.equal(result.blobDigest, undefined)
    else t.strictSame(result.blobDigest, sha256(blob))
    if (how !== 'abort') t.equal(job.progress, blob.length)
    job.abort()
    job.skipOutput()
  })
}

t.test('a blob that is still coming in', { skip }, async (t) => {
  const blob = gzipSync(LARGE)
  const path = join(fixtureDirectory(t), 'blob')
  writeFileSync(path, Buffer.alloc(blob.length, 0xaa))
  const fd = openSync(path, 'r+')
  t.teardown(() => {
    closeSync(fd)
  })
  const options = {
    blob: { fd, offset: 0, length: blob.length },
    available: 0,
    blobHash: 'sha256',
    deviceHash: 'sha256',
    spanSize: PIECE_SIZE,
    maxOutput: 1 << 30,
  } as const
  const job = new (addon().GzipIndexJob)(options, () => undefined)
  for (let done = 0; done < blob.length; done += 300_000) {
    const part = blob.subarray(done, done + 300_000)
    writeSync(fd, part, 0, part.length, done)
    job.advance(done + part.length)
    await new Promise(setImmediate)
  }
  const result = await job.done
  t.equal(result.status, 'done')
  t.strictSame(result.deviceDigest, sha256(LARGE))
  t.throws(() => {
    job.advance(-1)
  }, /available/)

  const waiting = new (addon().GzipIndexJob)(options, () => undefined)
  waiting.abort()
  t.equal((await waiting.done).status, 'aborted')
})

t.test('many jobs at once', { skip }, async (t) => {
  const blob = gzipSync(LARGE)
  const fd = openFixture(t, blob)
  const all = await Promise.all(Array.from({ length: 8 }, () => indexBlob(fd, blob.length)))
  for (const { result, output } of all) {
    t.equal(result.status, 'done')
    t.ok(output.equals(LARGE))
  }
})

t.test('wrong arguments', { skip }, async (t) => {
  const { GzipIndexJob } = addon()
  const options = {
    blob: { fd: 0, offset: 0, length: 1 },
    blobHash: 'sha256',
    deviceHash: 'sha256',
    spanSize: PIECE_SIZE,
    maxOutput: 1,
  } as const
  const ignore = (): void => undefined
  for (const [wrong, message] of [
    [{ ...options, spanSize: 100 }, /spanSize/],
    [{ ...options, maxOutput: -1 }, /maxOutput/],
    [{ ...options, maxOutput: 0.5 }, /maxOutput/],
    [{ ...options, available: -1 }, /available/],
    [{ ...options, blobHash: 'md5' }, /blobHash/],
    [{ ...options, blob: { ...options.blob, fd: -1 } }, /fd/],
    [{ ...options, blob: undefined }, /./],
    [undefined, /./],
  ] as const) {
    t.throws(() => new GzipIndexJob(wrong as never, ignore), { name: 'TypeError', message })
  }
  t.throws(() => new GzipIndexJob(options, undefined as never), /onOutput/)
})
