// The content store on disk (DESIGN section 5): one directory of one user on one machine, shared by any number of
// processes. cache-paths.ts says what is where. Three rules keep it right at every moment:
//   - a name appears by rename or link, after the bytes behind it are durable;
//   - equal names have equal content, so whoever comes second keeps what is there;
//   - what is read is checked against a digest first, and what is wrong is dropped, to be made again.

import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { isOcimountError } from '../errors.js'
import type { Digest } from '../image/digest.js'
import { log } from '../logger.js'
import { loadNative } from '../native.js'
import {
  decodeArchiveRecord,
  encodeArchiveRecord,
  mergeRegions,
  type ArchiveRecord,
  type ArchiveRegion,
} from './archive-record.js'
import { storeBlob, type PutBlobOptions } from './blob-store.js'
import { CachePaths } from './cache-paths.js'
import { CacheQuota } from './cache-quota.js'
import { cacheRoot, openCacheRoot } from './cache-root.js'
import { cacheSizeOf } from './cache-size.js'
import { dataBytes, emptyClosedData } from './closed-data.js'
import { hasDecoded, publishDecoded } from './decoded-archive.js'
import { diskUsage, type DiskUsage } from './disk-usage.js'
import { replaceFile, writeNewFile } from './durable.js'
import { touchEntries } from './entries.js'
import { identityKey, type FileIdentity } from './file-identity.js'
import { keepEntries, Pin } from './lease.js'
import type { LockOptions } from './lock-wait.js'
import { withFileLock } from './lock.js'
import type { MapStore } from './piece-presence.js'
import { pruneCache, type PruneOptions, type PruneResult } from './prune.js'
import { loadSealedFile, lstatIfPresent, removeIfSame, seal } from './sealed-file.js'
import type { ByteSource } from './spool.js'
import { Staging } from './staging.js'
import { findAbandoned, removeAbandoned } from './sweep.js'
import { writeUnnamedFile } from './unnamed-file.js'
import { verifyCache, type VerifyOptions, type VerifyResult } from './verify.js'

export interface CacheOptions {
  readonly dir?: string | undefined
  readonly maxDataBytes?: number | undefined
  /** False: layers and archives that cannot be read in parts are refused, since there is no room for them whole. */
  readonly takesWhole?: boolean | undefined
}

/** Names the lock under which a layer's files change. */
export function layerLock(layerId: string): string {
  return `layer-${layerId}`
}

/** A reader at its end does not wait long to say what it filled. */
const MAP_LOCK_MS = 10_000

/** An open cache. It holds no descriptor and needs no closing. */
export class Cache extends CachePaths {
  /** Keeps the data of layers below a size, where one was given. */
  readonly quota: CacheQuota | undefined
  readonly takesWhole: boolean
  /** Entries that this process has touched already. */
  readonly #touched = new Set<string>()

  private constructor(root: string, { maxDataBytes, takesWhole = true }: CacheOptions) {
    super(root)
    this.takesWhole = takesWhole
    if (maxDataBytes === undefined) return
    this.quota = new CacheQuota(maxDataBytes, {
      measure: () => dataBytes(this),
      emptyClosed: (wantedBytes) => this.emptyClosedData(wantedBytes),
    })
  }

  /**
   * Opens a cache, making it where there is none. `dir` is what the user asked for, if anything.
   *
   * `maxDataBytes` is what the uncompressed bytes of layers may take on disk, `$OCIMOUNT_CACHE_SIZE` unless given, else as
   * much as there is; it needs the addon.
   *
   * @throws OcimountError `USAGE` for a size that cannot be; `STORAGE_FAILED` when the directory is a symbolic link, somebody else's, writable by
   *   others, or holds something else; `STORAGE_FULL`
   */
  static open(options: CacheOptions = {}): Promise<Cache> {
    // In one turn and without a thread's round trip: a second mount has milliseconds for all of its work.
    return new Promise((resolve) => {
      const root = cacheRoot(options.dir)
      openCacheRoot(root)
      const cache = new Cache(root, {
        ...options,
        maxDataBytes: options.maxDataBytes ?? cacheSizeOf(process.env),
      })
      const abandoned = findAbandoned(cache.tmpPath)
      if (abandoned.length > 0) void removeAbandoned(abandoned)
      resolve(cache)
    })
  }

  /**
   * Reads a sealed file. Missing is undefined; so is a corrupt one, which is removed with a warning.
   *
   * @throws OcimountError `STORAGE_FAILED`
   */
  readSealed(path: string): Promise<Buffer | undefined> {
    return loadSealedFile(path)
  }

  /**
   * Writes a sealed file in one step, replacing what has the name.
   *
   * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`
   */
  async writeSealed(path: string, parts: readonly Uint8Array[]): Promise<void> {
    const staging = await Staging.create(this.tmpPath)
    try {
      const temporary = join(staging.path, 'sealed')
      await writeNewFile(temporary, [...parts, seal(parts)])
      await replaceFile(temporary, path)
    } finally {
      await staging.remove()
    }
  }

  /** Writes a file that has no name and no place in the cache, only its filesystem; see {@link writeUnnamedFile}. */
  writeUnnamed(parts: readonly Uint8Array[], position = 0): Promise<FileHandle> {
    return writeUnnamedFile(this.tmpPath, parts, position)
  }

  /** Gives what a file in exactly this state was verified to hold. */
  async getArchiveRecord(identity: FileIdentity): Promise<ArchiveRecord | undefined> {
    const path = this.archiveRecordPath(identity)
    const payload = await loadSealedFile(path)
    if (payload === undefined) return undefined
    try {
      return decodeArchiveRecord(payload, identity)
    } catch (error) {
      if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
      log.warn({ path, why: error.message }, 'removed a corrupt file from the cache')
      await removeIfSame(path, await lstatIfPresent(path))
      return undefined
    }
  }

  /** Adds stretches of a file that were just verified to what is known of it. */
  async mergeArchiveRecord(
    identity: FileIdentity,
    regions: readonly ArchiveRegion[],
  ): Promise<void> {
    await this.withLock(`archive-${identityKey(identity)}`, async () => {
      const known = (await this.getArchiveRecord(identity))?.regions ?? []
      const merged = mergeRegions(known, regions)
      if (merged === undefined) return
      const payload = encodeArchiveRecord({ identity, regions: merged })
      await this.writeSealed(this.archiveRecordPath(identity), [payload])
    })
  }

  /**
   * Gives the path of the decoded form of an archive, by the identity of the file or by the hex SHA-256 of the
   * decoded bytes; undefined when it is not there.
   */
  async findDecodedArchive(source: FileIdentity | string): Promise<string | undefined> {
    const path = this.decodedArchivePath(source)
    return (await hasDecoded(path)) ? path : undefined
  }

  /**
   * Moves a decoded archive from a staging directory into place and gives its path.
   *
   * `sha256` is that of its bytes, in hex; `cache verify` checks it.
   */
  async publishDecodedArchive(
    staging: Staging,
    from: string,
    archive: { source: FileIdentity | string; sha256: string },
  ): Promise<string> {
    const path = this.decodedArchivePath(archive.source)
    await publishDecoded(staging, from, path, archive.sha256)
    return path
  }

  /** Tells whether a blob is there. Blobs were verified on their way in. */
  async hasBlob(digest: Digest): Promise<boolean> {
    return (await lstatIfPresent(this.blobPath(digest)))?.isFile() === true
  }

  /** Removes a blob that turned out wrong. */
  async dropBlob(digest: Digest): Promise<void> {
    const path = this.blobPath(digest)
    log.warn({ path }, 'removed a corrupt blob from the cache')
    await removeIfSame(path, await lstatIfPresent(path))
  }

  /**
   * Stores a blob and gives its path; one that is there is kept and the source left unread.
   *
   * @throws OcimountError `SIZE_MISMATCH`, `DIGEST_MISMATCH`, `IMAGE_UNSUPPORTED`, `STORAGE_FULL`,
   *   `STORAGE_FAILED`, `INTERRUPTED`; and what the source throws
   */
  async putBlob(digest: Digest, source: ByteSource, options: PutBlobOptions): Promise<string> {
    const path = this.blobPath(digest)
    if (await this.hasBlob(digest)) return path
    const staging = await this.stage()
    try {
      await storeBlob(staging, { path, digest }, source, options)
    } finally {
      await staging.remove()
    }
    return path
  }

  /**
   * Runs `work` while nobody else holds the lock of that name, waiting for a living owner and taking over from
   * a dead one. Not reentrant.
   *
   * @throws OcimountError `CACHE_LOCKED` after the time-out, `INTERRUPTED`; and what `work` throws
   */
  withLock<T>(name: string, work: () => Promise<T>, options: LockOptions = {}): Promise<T> {
    return withFileLock({ locks: this.locksPath, tmp: this.tmpPath }, name, work, options)
  }

  /** Gives a private directory on the filesystem of the cache; the caller removes it in every case. */
  stage(): Promise<Staging> {
    return Staging.create(this.tmpPath)
  }

  /**
   * Notes that the entries behind these paths are used now, once per process. Never fails.
   *
   * A path is one that a method of this class gave, or lies below it.
   */
  async touch(paths: readonly string[]): Promise<void> {
    const keys = paths.map((path) => this.entryKey(path)).filter((key) => !this.#touched.has(key))
    for (const key of keys) this.#touched.add(key)
    await touchEntries(this, keys)
  }

  /**
   * Keeps the entries behind these paths from being pruned while this process lives. They need not exist yet:
   * pin first, then look whether they are there.
   *
   * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`
   */
  async pin(paths: readonly string[]): Promise<Pin> {
    const keys = [...new Set(paths.map((path) => this.entryKey(path)))]
    return await Pin.create({ leases: this.leasesPath, tmp: this.tmpPath }, keys)
  }

  /**
   * Keeps the entries behind these paths until they are given up under the same name, by an empty list.
   *
   * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`
   */
  async keep(name: string, paths: readonly string[]): Promise<void> {
    const keys = [...new Set(paths.map((path) => this.entryKey(path)))]
    await keepEntries({ leases: this.leasesPath, tmp: this.tmpPath }, name, keys)
  }

  /** Tells the space on disk that everything takes. */
  diskUsage(): Promise<DiskUsage> {
    return diskUsage(this)
  }

  /** Tells the space on disk that the uncompressed bytes of layers take, which is what a quota bounds. */
  dataBytes(): Promise<number> {
    return dataBytes(this)
  }

  /**
   * Empties data of layers that nobody has mounted, that used longest ago first, until so much is free; gives how much is.
   *
   * @throws OcimountError `STORAGE_FAILED`, `STORAGE_FULL`, `CACHE_LOCKED`
   */
  async emptyClosedData(wantedBytes: number): Promise<number> {
    const native = loadNative()
    if (native === undefined) return 0
    const storeOf = (layerId: string): MapStore => this.layerStore(layerId)
    return await emptyClosedData(this, { native, wantedBytes, storeOf })
  }

  /** Says how the files beside a layer's data are written. */
  layerStore(layerId: string): MapStore {
    return {
      lock: (work) => this.withLock(layerLock(layerId), work, { timeoutMs: MAP_LOCK_MS }),
      writeSealed: (path, parts) => this.writeSealed(path, parts),
    }
  }

  /** Hashes everything again; see {@link verifyCache}. */
  verify(options: VerifyOptions = {}): Promise<VerifyResult> {
    return verifyCache(this, options)
  }

  /** Removes what was used longest ago; see {@link pruneCache}. */
  prune(options: PruneOptions): Promise<PruneResult> {
    return pruneCache(this, options)
  }
}
