// Lazy layers whose blob is in memory, for the tests of this room.

import { join } from 'node:path'
import type { Test } from 'tap'
import { Cache } from '../../src/cache/cache.js'
import type { FetchStats } from '../../src/cache/piece-maker.js'
import { parseDigest } from '../../src/image/digest.js'
import { findLazyIndex } from '../../src/image/lazy-index.js'
import type { BlobRanges, LayerBlob, RangeOptions } from '../../src/layer/layer-blob.js'
import { OpenableLazyLayer } from '../../src/layer/lazy-layer.js'
import type { Toc } from '../../src/layer/toc.js'
import { sha256 } from '../helpers/build-image.js'
import { char, dir, fifo, file, hardlink, symlink } from '../helpers/build-tar.js'
import {
  lazyEntry,
  lazyFile,
  type BuiltLazyLayer,
  type LazyMember,
} from '../helpers/build-stargz.js'
import { fixtureDirectory, layerLikeBytes } from '../helpers/native-addon.js'

/** One of everything that a layer can hold. */
export function sampleMembers(): LazyMember[] {
  const xattrs = { 'user.note': 'hällo', 'user.other': 'abc' }
  return [
    lazyEntry(
      dir('./', { mode: 0o711, mtime: 5 }),
      { name: './', type: 'dir', mode: 0o711 },
      { mtime: 5 },
    ),
    lazyEntry(
      dir('usr/', { uid: 3, gid: 4 }),
      { name: 'usr/', type: 'dir', mode: 0o755 },
      { uid: 3, gid: 4 },
    ),
    lazyFile('usr/small', 'hello\n', { mtime: 1_700_000_000, mode: 0o4755, xattrs }),
    lazyFile('usr/empty', ''),
    lazyFile('usr/big', layerLikeBytes(2_700_001, 1), { uid: 1000, gid: 100 }),
    lazyFile('usr/café', 'x'.repeat(5000), { mtime: -5 }),
    lazyEntry(hardlink('usr/again', 'usr/small'), {
      name: 'usr/again',
      type: 'hardlink',
      mode: 0o644,
      linkName: 'usr/small',
    }),
    lazyEntry(symlink('usr/link', '../etc/passwd'), {
      name: 'usr/link',
      type: 'symlink',
      mode: 0o777,
      linkName: '../etc/passwd',
    }),
    lazyEntry(char('usr/null', 1, 3), {
      name: 'usr/null',
      type: 'char',
      mode: 0o666,
      devMajor: 1,
      devMinor: 3,
    }),
    lazyEntry(fifo('usr/pipe'), { name: 'usr/pipe', type: 'fifo', mode: 0o644 }),
    lazyEntry(file('usr/.wh.gone'), { name: 'usr/.wh.gone', type: 'reg', mode: 0o644 }),
    lazyEntry(file('opt/.wh..wh..opq'), { name: 'opt/.wh..wh..opq', type: 'reg', mode: 0o644 }),
    lazyFile('opt/last', layerLikeBytes(700_000, 2)),
  ]
}

/** A blob in memory that counts what is asked of it and can be made to misbehave. */
export class MemoryRanges implements BlobRanges {
  readonly asked: {
    offset: number
    length: number
    isUrgent: boolean
    isLikely: boolean
    hurry?: AbortSignal | undefined
  }[] = []
  running = 0
  mostRunning = 0
  /** Changes an answer, or throws instead of it. */
  fault: ((bytes: Buffer, offset: number, attempt: number) => Buffer) | undefined
  /** Waited for when the first half of an answer is there. */
  pause: (() => Promise<void>) | undefined
  readonly #blob: Buffer

  constructor(blob: Buffer) {
    this.#blob = blob
  }

  fetched(): FetchStats {
    const demandRequests = this.asked.filter(({ isUrgent }) => isUrgent).length
    const requests = this.asked.length
    return { fetchedBytes: this.bytes, requests, demandRequests, lastError: undefined }
  }

  get bytes(): number {
    return this.asked.reduce((sum, { length }) => sum + length, 0)
  }

  async read(
    { offset, length }: { offset: number; length: number },
    { signal, attempt, isUrgent, isLikely = false, hurry, onArrived }: RangeOptions,
  ): Promise<Buffer> {
    this.asked.push({ offset, length, isUrgent, isLikely, hurry })
    this.mostRunning = Math.max(this.mostRunning, ++this.running)
    await new Promise((resolve) => setTimeout(resolve, 1))
    this.running--
    signal?.throwIfAborted()
    if (offset + length > this.#blob.length) throw new Error('asked for what is not in the blob')
    const bytes = Buffer.from(this.#blob.subarray(offset, offset + length))
    const sent = this.fault?.(bytes, offset, attempt) ?? bytes
    const front = Math.floor(length / 2)
    onArrived?.(sent, front)
    await this.pause?.()
    return sent
  }
}

export interface LazyFixture {
  readonly cache: Cache
  readonly blob: LayerBlob
  readonly ranges: MemoryRanges
  readonly prepare: () => Promise<OpenableLazyLayer>
}

/** Puts a layer where its bytes are asked for, with a fresh cache unless one is given. */
export async function lazyFixture(
  t: Test,
  built: Pick<BuiltLazyLayer, 'stored' | 'tar' | 'annotations'>,
  given?: Cache,
): Promise<LazyFixture> {
  const cache = given ?? (await Cache.open({ dir: join(fixtureDirectory(t), 'cache') }))
  const claim = findLazyIndex(new Map(Object.entries(built.annotations)))
  if (claim === undefined || !('index' in claim)) throw new Error('there is no index')
  const ranges = new MemoryRanges(built.stored)
  const identity = { dev: '0', ino: '0', size: 0, mtimeNs: '0', ctimeNs: '0' }
  const blob: LayerBlob = {
    region: { path: '/nonexistent', offset: 0, length: built.stored.length, identity },
    digest: parseDigest(sha256(built.stored)),
    diffId: parseDigest(sha256(built.tar)),
    mediaType: 'application/octet-stream',
    lazy: { claim, ranges },
  }
  const { index } = claim
  return {
    cache,
    blob,
    ranges,
    prepare: () => OpenableLazyLayer.prepare(blob, { index, ranges }, { cache }),
  }
}

/** Gives what a toc says, and the content of each file out of its device. */
export async function contentsOf(
  toc: Toc,
  read: (offset: number, length: number) => Promise<Buffer>,
): Promise<unknown[]> {
  const found: unknown[] = []
  for (const entry of toc.entries) {
    const { dataOffset, sparse, xattrs } = entry
    const content = Buffer.alloc(entry.size)
    const parts = sparse ?? [{ fileOffset: 0, deviceOffset: dataOffset, length: entry.size }]
    for (const { fileOffset, deviceOffset, length } of parts) {
      if (length > 0) (await read(deviceOffset, length)).copy(content, fileOffset)
    }
    const shown = [...(xattrs ?? [])].map(([name, value]) => [name, value.toString('hex')]).sort()
    const places = { dataOffset: 0, headerOffset: 0, sparse: undefined }
    found.push({ ...entry, ...places, xattrs: shown, content: sha256(content) })
  }
  return found
}
