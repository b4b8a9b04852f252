// Layers for the tests of this room: bytes that can be made again from a number.
import { createHash } from 'node:crypto'
import type { Cache } from '../../src/cache/cache.js'
import { DataFileWriter } from '../../src/cache/data-file-writer.js'
import { digestOf, type DiffId } from '../../src/image/digest.js'
import { Random } from '../helpers/random.js'

/** Gives bytes in which no two blocks of 32 are alike. */
export function fillLayer(seed: number, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  const block = createHash('sha256').update(String(seed)).digest()
  for (let offset = 0; offset < size; offset += 32) {
    block.writeUInt32LE(offset, 0)
    block.copy(bytes, offset)
  }
  return bytes
}

/** Cuts bytes into chunks of lengths that a number decides, empty ones among them. */
export function chunksOf(bytes: Buffer, random: Random, longest: number): Buffer[] {
  const chunks: Buffer[] = []
  for (let offset = 0; offset < bytes.length;) {
    const length = random.below(longest)
    chunks.push(bytes.subarray(offset, offset + length))
    offset += length
  }
  return chunks
}

/** Puts bytes into a cache as a layer's data. */
export async function writeLayer(
  cache: Cache,
  bytes: Buffer,
): Promise<{ layerId: DiffId; published: string }> {
  const layerId = digestOf(bytes)
  const staging = await cache.stage()
  try {
    const writer = await DataFileWriter.create(staging.path)
    for (const chunk of chunksOf(bytes, new Random(bytes.length), 300_000))
      await writer.write(chunk)
    await writer.finish()
    return { layerId, published: await staging.publish('.', cache.layerPath(layerId)) }
  } finally {
    await staging.remove()
  }
}

/** Does everything that a mount writes: a layer, its toc, a rootfs, a mark, a lease and an archive record. */
export async function writeEverything(cache: Cache, seed: number): Promise<DiffId> {
  const bytes = fillLayer(seed, 2_500_000)
  // The toc first, so that the data joins a directory that is there.
  await cache.writeSealed(cache.tocPath(digestOf(bytes)), [Buffer.from(`toc ${seed}`)])
  const { layerId } = await writeLayer(cache, bytes)
  await cache.writeSealed(cache.rootfsPath(1, `k${seed}`), [fillLayer(seed + 1, 100_000)])
  await cache.touch([cache.layerPath(layerId)])
  await (await cache.pin([cache.layerPath(layerId)])).release()
  await cache.mergeArchiveRecord(
    { dev: '1', ino: String(seed), size: 2_500_000, mtimeNs: '1', ctimeNs: '1' },
    [{ form: 'plain', offset: 0, length: 2_500_000, diffId: layerId }],
  )
  return layerId
}
