// Reads at random in gzip layers of more than 4 GiB, and compares with what `gzip -dc` gives of the same blob: around
// checkpoints, pieces, 2 GiB, 4 GiB and the ends, in many sizes, and at offsets by chance. Prints the size of each index, which
// may be 1.5 % of the layer. The long form of test/layer/gzip-flavours.test.ts, and no part of the tests: with a free
// processor about three minutes for each flavour, and 5 GB of disk.
//
//   node scripts/check-large-gzip.mjs [--gib 4.25] [--seed N] [FLAVOUR|FILE...]     all flavours; a FILE is a layer that is there

import { spawn } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  createWriteStream,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
} from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'

const FLAVOURS = {
  'gzip-1': ['gzip', '-1'],
  pigz: ['pigz', '-1'],
  'pigz-independent': ['pigz', '-1', '-i'],
  bgzip: ['bgzip', '-l', '1', '-c'],
  stored: ['pigz', '-0'],
}
const MIB = 1 << 20
const SIZES = [1, 2, 511, 512, 513, 4096, 65_537, MIB - 1, MIB, MIB + 1, 5 * MIB + 3]
const RANDOM_READS = 500
const MAX_SHARE = 0.015

const { values: options, positionals } = parseArgs({
  options: {
    gib: { type: 'string', default: '4.25' },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
  },
  allowPositionals: true,
})
const root = fileURLToPath(new URL('..', import.meta.url))
const work = mkdtempSync('/var/tmp/ocimount-large-gzip-')
process.on('exit', () => rmSync(work, { recursive: true, force: true }))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1))

/** What the library keeps to itself: the table of checkpoints. */
const parts = `
  export { Cache } from './src/cache/cache.ts'
  export { fileIdentity } from './src/cache/file-identity.ts'
  export { unseal } from './src/cache/sealed-file.ts'
  export { indexLayer } from './src/layer/index-layer.ts'
  export { decodeSpanTable, SPAN_RECORD_SIZE } from './src/layer/span-table.ts'
  export { nativeUnavailableReason } from './src/native.ts'`
// Below the checkout, where the addon is found.
const bundle = join(root, '.build', `check-large-gzip-${process.pid}.mjs`)
process.on('exit', () => rmSync(bundle, { force: true }))
await build({
  stdin: { contents: parts, resolveDir: root, loader: 'ts' },
  ...{ bundle: true, platform: 'node', format: 'esm', packages: 'external', outfile: bundle },
})
const ours = await import(bundle)
const missing = ours.nativeUnavailableReason()
if (missing !== undefined) throw new Error(`there is no addon: ${missing}`)

let state = Number(options.seed) >>> 0
function below(limit) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * limit)
}

/** Bytes as a layer has them, with a number in every page: none is at two places. */
function* layerBytes(size) {
  const block = Buffer.alloc(16 * MIB)
  for (let at = 0; at < block.length;) {
    const end = Math.min(block.length, at + 1 + below(100_000))
    if (below(4) === 0) block.fill(0, at, end)
    else if (below(2) === 0) for (let i = at; i < end; i++) block[i] = below(256)
    else block.fill(`${below(1e9)} lines of text, ${below(1e9)} of them alike\n`, at, end)
    at = end
  }
  for (let offset = 0; offset < size; offset += block.length) {
    for (let at = 0; at < block.length; at += 4096) block.writeDoubleLE(offset + at, at)
    yield Buffer.from(block.subarray(0, Math.min(block.length, size - offset)))
  }
}

function header(name, size) {
  const block = Buffer.alloc(512)
  block.write(name, 0)
  block.write('0000644\0' + '0000000\0'.repeat(2), 100)
  block.write(`${size.toString(8).padStart(11, '0')}\0${'0'.repeat(11)}\0        0`, 124)
  block.write('ustar\x0000', 257)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

/** A tar of a large file and a small one behind it. */
function* tarBytes() {
  const size = Math.floor((Number(options.gib) * 2 ** 30) / 512) * 512
  yield header('large', size)
  yield* layerBytes(size)
  yield header('small', 5)
  yield Buffer.from('small'.padEnd(512, '\0'))
  yield Buffer.alloc(1024)
}

async function pack([program, ...args], path) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const written = once(child.stdout.pipe(createWriteStream(path)), 'finish')
  for (const chunk of tarBytes()) if (!child.stdin.write(chunk)) await once(child.stdin, 'drain')
  child.stdin.end()
  await written
}

/** The stream that `gzip -dc` gives, in chunks with their offsets. */
async function* unpacked(path) {
  const input = openSync(path, 'r')
  const child = spawn('gzip', ['-dc'], { stdio: [input, 'pipe', 'inherit'] })
  closeSync(input)
  const ended = once(child, 'exit')
  let offset = 0
  for await (const chunk of child.stdout) {
    yield { chunk, offset }
    offset += chunk.length
  }
  const [status] = await ended
  if (status !== 0) throw new Error(`gzip -dc ended with status ${status}`)
}

async function digestOf(path) {
  const hash = createHash('sha256')
  let size = 0
  for await (const { chunk } of unpacked(path)) {
    hash.update(chunk)
    size += chunk.length
  }
  return { diffId: `sha256:${hash.digest('hex')}`, size }
}

function rangesOf(size, checkpoints) {
  const some = (list) => Array.from({ length: 6 }, () => list[below(list.length)])
  const places = [
    ...[0, 512, 2 ** 31, 2 ** 32, size],
    ...some(checkpoints),
    ...some(Array.from({ length: Math.ceil(size / MIB) }, (_, piece) => piece * MIB)),
  ]
  const near = places.flatMap((place) =>
    SIZES.flatMap((length) =>
      [-length, -1, 0, 1, -(length >> 1)].map((shift) => ({ offset: place + shift, length })),
    ),
  )
  const anywhere = Array.from({ length: RANDOM_READS }, () => {
    return { offset: below(size), length: 1 + below(20_000) }
  })
  return [...near, ...anywhere].filter(
    ({ offset, length }) => offset >= 0 && offset + length <= size,
  )
}

function shuffle(list) {
  for (let last = list.length - 1; last > 0; last--) {
    const other = below(last + 1)
    ;[list[last], list[other]] = [list[other], list[last]]
  }
}

/** Reads every range, in no order and a few at a time, and keeps its digest. */
async function readAll(device, ranges) {
  shuffle(ranges)
  const waiting = [...ranges]
  const work = async () => {
    for (let range = waiting.pop(); range !== undefined; range = waiting.pop()) {
      const target = Buffer.alloc(range.length, 0xa5)
      await device.read(target, range.offset)
      range.got = createHash('sha256').update(target).digest('hex')
    }
  }
  await Promise.all(Array.from({ length: 4 }, work))
}

/** Compares with one pass over what `gzip -dc` gives; gives the ranges that are wrong. */
async function compare(path, ranges) {
  ranges.sort((a, b) => a.offset - b.offset)
  const wrong = []
  let open = []
  let next = 0
  for await (const { chunk, offset } of unpacked(path)) {
    const end = offset + chunk.length
    for (; next < ranges.length && ranges[next].offset < end; next++) {
      open.push({ range: ranges[next], hash: createHash('sha256') })
    }
    open = open.filter(({ range, hash }) => {
      const rangeEnd = range.offset + range.length
      hash.update(chunk.subarray(Math.max(0, range.offset - offset), rangeEnd - offset))
      if (rangeEnd > end) return true
      if (hash.digest('hex') !== range.got) wrong.push(range)
      return false
    })
  }
  return [...wrong, ...open.map(({ range }) => range), ...ranges.slice(next)]
}

async function check(name, path) {
  const { diffId, size } = await digestOf(path)
  const dir = join(work, 'cache')
  const cache = await ours.Cache.open({ dir })
  const stats = await stat(path, { bigint: true })
  const length = Number(stats.size)
  const region = { path, offset: 0, length, identity: ours.fileIdentity(stats) }
  const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip'
  const began = performance.now()
  const layer = await ours.indexLayer({ region, digest: undefined, diffId, mediaType }, { cache })
  const seconds = (performance.now() - began) / 1000
  const [index] = readdirSync(join(dir, 'blob-index/sha256')).map((file) =>
    join(dir, 'blob-index/sha256', file),
  )
  const sealed = await readFile(index)
  const { records } = ours.decodeSpanTable(ours.unseal(sealed, index), index)
  const checkpoints = []
  for (let at = 0; at < records.length; at += ours.SPAN_RECORD_SIZE) {
    checkpoints.push(Number(records.readBigUInt64LE(at)))
  }
  const ranges = rangesOf(size, checkpoints)
  const device = await layer.openDevice()
  if (device.size !== size) throw new Error(`${name}: ${device.size} bytes instead of ${size}`)
  await readAll(device, ranges)
  await device.close()
  const wrong = await compare(path, ranges)
  const share = sealed.length / size
  const percent = (part) => `${(part * 100).toFixed(2)} %`
  console.log(
    `${name}: ${size} bytes in ${length}, ${layer.toc.entries.length} entries, indexed in ${seconds.toFixed(1)} s; ` +
      `${checkpoints.length} checkpoints, index ${sealed.length} bytes: ${percent(share)} of the layer, ` +
      `${percent(sealed.length / length)} of the blob; ${ranges.length} reads, ${wrong.length} wrong`,
  )
  for (const { offset, length } of wrong.slice(0, 20)) console.log(`  ${length} at ${offset}`)
  rmSync(dir, { recursive: true })
  return wrong.length === 0 && share <= MAX_SHARE
}

console.log(`seed ${options.seed}`)
let isGood = true
for (const wanted of positionals.length > 0 ? positionals : Object.keys(FLAVOURS)) {
  const isFile = !(wanted in FLAVOURS) && existsSync(wanted)
  if (!isFile && !(wanted in FLAVOURS)) throw new Error(`${wanted} is neither a flavour nor a file`)
  const path = isFile ? wanted : join(work, 'layer.gz')
  if (!isFile) await pack(FLAVOURS[wanted], path)
  isGood = (await check(wanted, path)) && isGood
  if (!isFile) rmSync(path)
}
process.exitCode = isGood ? 0 : 1
