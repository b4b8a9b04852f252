// Checks everything in a cache against what it must hash to, trusting nothing that is written beside it: a layer's
// data against the digests of those pieces that are there and, where all are, against the DiffID in its name; blobs against
// theirs.

import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isOcimountError, OcimountError } from '../errors.js'
import {
  createDigestHash,
  digestAlgorithm,
  finishDigest,
  isSupportedDigest,
  parseDigest,
  type Digest,
} from '../image/digest.js'
import { decodeArchiveRecord } from './archive-record.js'
import { entryKind, layerIdOf, type CachePaths } from './cache-paths.js'
import { dropData, openDataParts, readPiece } from './data-parts.js'
import { dropDecoded, readSum } from './decoded-archive.js'
import { listKeys, namesOf } from './entries.js'
import { identityKey } from './file-identity.js'
import {
  DATA_MAP_NAME,
  DATA_NAME,
  DIGESTS_NAME,
  hasPiece,
  isWholeMap,
  PIECE_SIZE,
  pieceCount,
} from './piece-map.js'
import { lstatIfPresent, readSealedFile } from './sealed-file.js'
import { corruptError, interruptedError, storageError } from './storage-error.js'

export interface VerifyOptions {
  /** Reports bad entries and leaves them. */
  readonly keep?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined
}

export interface BadEntry {
  /** Key of the entry, with the name of the file where that says more. */
  readonly path: string
  readonly why: string
  readonly isRemoved: boolean
}

export interface VerifyResult {
  readonly checked: number
  /** Bytes that were hashed. */
  readonly bytes: number
  readonly bad: readonly BadEntry[]
}

/**
 * Hashes every entry again. Bad ones are removed, so that they are made again when they are needed.
 *
 * @throws OcimountError `STORAGE_FAILED` when the disk says no, `INTERRUPTED`
 */
export async function verifyCache(
  paths: CachePaths,
  options: VerifyOptions = {},
): Promise<VerifyResult> {
  const check = new Check(paths, options)
  const keys = await listKeys(paths)
  for (const [index, key] of keys.entries()) {
    options.onProgress?.({ done: index, total: keys.length })
    await check.entry(key)
  }
  options.onProgress?.({ done: keys.length, total: keys.length })
  return { checked: keys.length, bytes: check.bytes, bad: check.bad }
}

class Check {
  readonly bad: BadEntry[] = []
  bytes = 0
  readonly #paths: CachePaths
  readonly #options: VerifyOptions
  readonly #buffer = Buffer.allocUnsafeSlow(PIECE_SIZE)

  constructor(paths: CachePaths, options: VerifyOptions) {
    this.#paths = paths
    this.#options = options
  }

  async entry(key: string): Promise<void> {
    const path = join(this.#paths.root, key)
    switch (entryKind(key)) {
      case 'layer':
        await this.#layer(key, path)
        break
      case 'blob-index':
      case 'rootfs':
        await this.#part(key, removal(path), () => this.#sealed(path))
        break
      case 'archive':
        await this.#part(key, removal(path), () => this.#archive(path))
        break
      case 'decoded':
        await this.#part(
          key,
          () => dropDecoded(path),
          () => this.#decoded(path),
        )
        break
      case 'blob':
        await this.#part(key, removal(path), () => this.#blob(key, path))
        break
      case 'partial':
        // Nothing is said about it yet.
        break
      case undefined:
        throw new OcimountError('INTERNAL', `Cannot verify ${key}: no entry of the cache`)
    }
  }

  /** Runs one check; what it finds corrupt is reported and removed. */
  async #part(name: string, remove: () => Promise<void>, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
      const isRemoved = this.#options.keep !== true
      if (isRemoved) {
        try {
          await remove()
        } catch (cause) {
          throw storageError(cause, 'remove', join(this.#paths.root, name))
        }
      }
      const why = String(error.details['why'] ?? error.message)
      this.bad.push({ path: name, why, isRemoved })
    }
  }

  async #layer(key: string, path: string): Promise<void> {
    const names = await namesOf(path)
    for (const name of SEALED_NAMES.filter((one) => names.includes(one))) {
      const file = join(path, name)
      await this.#part(`${key}/${name}`, removal(file), () => this.#sealed(file))
    }
    if (DATA_NAMES.some((name) => names.includes(name))) {
      await this.#part(
        `${key}/${DATA_NAME}`,
        () => dropData(path),
        () => this.#data(key, path),
      )
    }
    for (const name of names) {
      if (SEALED_NAMES.includes(name) || DATA_NAMES.includes(name)) continue
      const file = join(path, name)
      await this.#part(`${key}/${name}`, removal(file), () =>
        Promise.reject(corruptError(file, 'it does not belong there')),
      )
    }
  }

  async #data(key: string, path: string): Promise<void> {
    const parts = await openDataParts(path, { fills: false })
    if (parts === undefined) return
    const { map, handle } = parts
    try {
      const layerId = layerIdOf(basename(key))
      const isComparable = layerId !== undefined && isDiffId(layerId) && isWholeMap(map)
      const whole = isComparable ? createDigestHash(layerId) : undefined
      for (let piece = 0; piece < pieceCount(map.deviceSize); piece++) {
        if (!hasPiece(map.present, piece)) continue
        this.#stopIfAborted()
        const { bytes, problem } = await readPiece(parts, piece, this.#buffer)
        if (problem !== undefined) throw corruptError(parts.path, problem)
        whole?.update(bytes)
        this.bytes += bytes.length
      }
      if (whole !== undefined) checkDigest(whole, layerId as Digest, parts.path)
    } finally {
      await handle.close()
    }
  }

  async #sealed(path: string): Promise<void> {
    this.#stopIfAborted()
    this.bytes += (await readSealedFile(path))?.length ?? 0
  }

  async #archive(path: string): Promise<void> {
    const payload = await readSealedFile(path)
    if (payload === undefined) return
    this.bytes += payload.length
    const { identity } = decodeArchiveRecord(payload)
    if (identityKey(identity) !== basename(path))
      throw corruptError(path, 'it is about another file')
  }

  async #decoded(path: string): Promise<void> {
    const sum = await readSum(path)
    // The same as a layer without its map.
    if (sum === undefined) return
    const hash = createHash('sha256')
    await this.#hashFile(path, hash)
    if (hash.digest('hex') !== sum.sha256) throw corruptError(path, 'its SHA-256 does not match')
  }

  async #blob(key: string, path: string): Promise<void> {
    const [, algorithm = '', encoded = ''] = key.split('/')
    const digest = blobDigest(`${algorithm}:${encoded}`, path)
    const hash = createDigestHash(digest)
    await this.#hashFile(path, hash)
    checkDigest(hash, digest, path)
  }

  async #hashFile(path: string, hash: Hash): Promise<void> {
    if ((await lstatIfPresent(path)) === undefined) return
    try {
      const handle = await open(
        path,
        constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
      )
      try {
        if (!(await handle.stat()).isFile()) throw corruptError(path, 'it is not a regular file')
        for (let offset = 0; ;) {
          this.#stopIfAborted()
          const { bytesRead } = await handle.read(this.#buffer, 0, this.#buffer.length, offset)
          if (bytesRead === 0) break
          hash.update(this.#buffer.subarray(0, bytesRead))
          offset += bytesRead
          this.bytes += bytesRead
        }
      } finally {
        await handle.close()
      }
    } catch (error) {
      throw storageError(error, 'read', path)
    }
  }

  #stopIfAborted(): void {
    const { signal } = this.#options
    if (signal?.aborted === true) {
      throw interruptedError('verify', this.#paths.root, signal.reason)
    }
  }
}

const SEALED_NAMES = ['toc', 'chunks', 'profile']
const DATA_NAMES = [DATA_NAME, DIGESTS_NAME, DATA_MAP_NAME]

function removal(path: string): () => Promise<void> {
  return () => rm(path, { force: true, recursive: true })
}

/** Tells a DiffID from a layer id such as `toc2:sha256:…`, which names something else than its bytes. */
function isDiffId(layerId: string): boolean {
  return layerId.startsWith('sha256:') || layerId.startsWith('sha512:')
}

function blobDigest(text: string, path: string): Digest {
  try {
    const digest = parseDigest(text)
    if (isSupportedDigest(digest)) return digest
  } catch (error) {
    if (!isOcimountError(error)) throw error
  }
  throw corruptError(path, 'its name is no digest that can be checked')
}

function checkDigest(hash: Hash, expected: Digest, path: string): void {
  if (finishDigest(hash, digestAlgorithm(expected)) !== expected) {
    throw corruptError(path, 'it does not hash to its name')
  }
}
