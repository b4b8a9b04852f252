// Where everything is below the cache root (DESIGN section 5), and the names of entries: what is used, pinned, pruned
// and counted as one. An entry's key is its path relative to the root; parts come from validated grammars
// alone, so none can be `..` or hold a slash.
//
//   CACHEDIR.TAG                      marks the directory as ours and as a cache, for backup programs
//   oci-layout index.json blobs/…     an OCI image layout
//   layers/<layer id>/                toc data data.map digests, of a lazy one chunks and profile; `:` in the id is written `-`
//   blob-index/<alg>/<blob digest>    sealed: the spans of one stored form of a layer
//   rootfs/v<writer>/<key>.erofs      sealed
//   archives/<identity>               sealed record of what a local archive was verified to hold
//   decoded/<key> <key>.sum           a local archive that was compressed as a whole; size and SHA-256, sealed
//   partial/<alg>/<hex>/              blobs on their way in: partial-blob.ts
//   used/<entry key, `/` as `,`>      empty; its mtime is when the entry was last used
//   locks/ leases/ tmp/               see lock.ts, lease.ts, staging.ts

import { isAbsolute, join, relative } from 'node:path'
import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { digestAlgorithm, digestHex, parseDigest, type Digest } from '../image/digest.js'
import { identityKey, type FileIdentity } from './file-identity.js'
import { DATA_NAME } from './piece-map.js'

export type EntryKind =
  'layer' | 'blob-index' | 'rootfs' | 'archive' | 'decoded' | 'blob' | 'partial'

/** Gives paths in a cache; makes and checks nothing on disk. */
export class CachePaths {
  /** Absolute path of the cache. */
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  /**
   * Gives the directory of a layer by its layer id: a DiffID, or `<word>:<digest>`.
   *
   * @throws OcimountError `IMAGE_INVALID` for anything that is not such an id of SHA-256 or SHA-512
   */
  layerPath(layerId: string): string {
    if (!LAYER_ID.test(layerId)) {
      const why = 'its id is not a sha256 or sha512 digest'
      throw new OcimountError(
        'IMAGE_INVALID',
        `Cannot cache layer ${escapeText(layerId.slice(0, 200))}: ${why}`,
      )
    }
    return join(this.root, 'layers', layerId.replaceAll(':', '-'))
  }

  tocPath(layerId: string): string {
    return join(this.layerPath(layerId), 'toc')
  }

  /** Gives the file that says where the chunks of a lazy layer are. */
  chunksPath(layerId: string): string {
    return join(this.layerPath(layerId), 'chunks')
  }

  /** Gives the file that says which pieces of a lazy layer were read first. */
  profilePath(layerId: string): string {
    return join(this.layerPath(layerId), 'profile')
  }

  dataPath(layerId: string): string {
    return join(this.layerPath(layerId), DATA_NAME)
  }

  /** Gives the file that says where the spans of a stored layer are, by the digest of the stored bytes. */
  blobIndexPath(digest: Digest): string {
    const checked = parseDigest(digest)
    return join(this.root, 'blob-index', digestAlgorithm(checked), digestHex(checked))
  }

  /** Gives the file of a merged tree, made by the given version of the writer. */
  rootfsPath(writerVersion: number, key: string): string {
    if (!Number.isSafeInteger(writerVersion) || writerVersion < 0 || !ROOTFS_KEY.test(key)) {
      throw new OcimountError('INTERNAL', `Cannot cache rootfs ${escapeText(key)}: not a key`)
    }
    return join(this.root, 'rootfs', `v${writerVersion}`, `${key}.erofs`)
  }

  archiveRecordPath(identity: FileIdentity): string {
    return join(this.root, 'archives', identityKey(identity))
  }

  /** Gives the file of a decoded archive by the identity of the file it came from, or by the hex SHA-256 of itself. */
  decodedArchivePath(source: FileIdentity | string): string {
    const key = typeof source === 'string' ? source : identityKey(source)
    if (!HEX_64.test(key)) {
      throw new OcimountError('INTERNAL', `Cannot cache archive ${escapeText(key)}: not a key`)
    }
    return join(this.root, 'decoded', key)
  }

  blobPath(digest: Digest): string {
    const checked = parseDigest(digest)
    return join(this.root, 'blobs', digestAlgorithm(checked), digestHex(checked))
  }

  /** Gives the directory of what there is of a blob that is not complete. */
  partialPath(digest: Digest): string {
    const checked = parseDigest(digest)
    return join(this.root, 'partial', digestAlgorithm(checked), digestHex(checked))
  }

  get tmpPath(): string {
    return join(this.root, 'tmp')
  }

  get locksPath(): string {
    return join(this.root, 'locks')
  }

  get leasesPath(): string {
    return join(this.root, 'leases')
  }

  /** Gives the file whose mtime says when an entry was last used. */
  markerPath(entryKey: string): string {
    return join(this.root, 'used', entryKey.replaceAll('/', ','))
  }

  /**
   * Gives the key of the entry that a path of this cache belongs to.
   *
   * @throws OcimountError `INTERNAL` for a path that belongs to none
   */
  entryKey(path: string): string {
    const inside = isAbsolute(path) ? relative(this.root, path) : path
    const parts = inside.split('/')
    const depth = DEEP.has(parts[0] ?? '') ? 3 : 2
    const key = parts
      .slice(0, depth)
      .join('/')
      .replace(/\.sum$/, '')
    if (entryKind(key) === undefined) {
      throw new OcimountError('INTERNAL', `Cannot find ${escapeText(path)}: no entry of the cache`)
    }
    return key
  }
}

/** Tells what kind of entry a key names, or undefined when it is not a key. */
export function entryKind(key: string): EntryKind | undefined {
  return KEYS.find(({ pattern }) => pattern.test(key))?.kind
}

/** Gives the layer id back from the name of a layer's directory. */
export function layerIdOf(directoryName: string): string | undefined {
  const layerId = directoryName.replaceAll('-', ':')
  return LAYER_ID.test(layerId) && !directoryName.includes(':') ? layerId : undefined
}

const LAYER_ID = /^(?:[a-z]{1,16}\d{0,4}:)?(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/
/** Places whose entries lie in directories. */
const DEEP: ReadonlySet<string> = new Set(['rootfs', 'blobs', 'blob-index', 'partial'])
const ROOTFS_KEY = /^[A-Za-z0-9_-]{1,128}$/
const HEX_64 = /^[0-9a-f]{64}$/
const KEYS: readonly { kind: EntryKind; pattern: RegExp }[] = [
  {
    kind: 'layer',
    pattern: /^layers\/(?:[a-z]{1,16}\d{0,4}-)?(?:sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})$/,
  },
  {
    kind: 'blob-index',
    pattern: /^blob-index\/(?:sha256\/[0-9a-f]{64}|sha512\/[0-9a-f]{128})$/,
  },
  { kind: 'rootfs', pattern: /^rootfs\/v\d{1,10}\/[A-Za-z0-9_-]{1,128}\.erofs$/ },
  { kind: 'archive', pattern: /^archives\/[0-9a-f]{64}$/ },
  { kind: 'decoded', pattern: /^decoded\/[0-9a-f]{64}$/ },
  { kind: 'partial', pattern: /^partial\/(?:sha256\/[0-9a-f]{64}|sha512\/[0-9a-f]{128})$/ },
  { kind: 'blob', pattern: /^blobs\/[a-z0-9]+(?:[.+_-][a-z0-9]+)*\/[A-Za-z0-9=_-]+$/ },
]
