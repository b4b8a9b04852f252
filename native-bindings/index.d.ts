// What the addon offers. `src/native.ts` is its only caller; it turns failures into OcimountError. Memory that is
// passed in stays the caller's and must not change or be detached before the call, job or server has ended.

/** A file that a native thread reads; the descriptor stays the caller's, open until the job or server has ended. */
export interface FileStretch {
  readonly fd: number
  /** Where in the file the stretch begins, and its bytes. */
  readonly offset: number
  readonly length: number
}

export type HashName = 'sha256' | 'sha512'

export interface GzipIndexOptions {
  /** The gzip blob. */
  readonly blob: FileStretch
  /** Bytes of it that can be read already, where it is still coming in; `advance` tells of the others. Default: all. */
  readonly available?: number
  /** Hash of the blob as stored. */
  readonly blobHash: HashName
  /** Hash of the uncompressed stream. */
  readonly deviceHash: HashName
  /** Least bytes of output between two checkpoints, at least 32768. */
  readonly spanSize: number
  /** Bytes of output after which the pass stops with `too-large`. */
  readonly maxOutput: number
}

/**
 * Outcome of the pass. Whatever went wrong with the bytes, `blobDigest` is that of the whole blob, so that a wrong
 * digest can be told as the reason; it is undefined only after `aborted` or `io-error`.
 */
export interface GzipIndexResult {
  readonly status: 'done' | 'corrupt' | 'truncated' | 'too-large' | 'aborted' | 'io-error'
  /** For a person, where status is not `done`. */
  readonly message: string
  /** The errno of `io-error`. */
  readonly errno: number
  readonly blobDigest: Buffer | undefined
  readonly deviceDigest: Buffer | undefined
  readonly deviceSize: number
  /** SpanRecords of 64 bytes, see gzip_index.h; empty where status is not `done`. */
  readonly spans: Buffer
  /** The windows that the records point into. */
  readonly windows: Buffer
  /** SHA-256 of each 1 MiB piece of the device, the last one shorter. */
  readonly pieceDigests: Buffer
}

/** One streaming pass over a gzip blob, in threads of its own. */
export class GzipIndexJob {
  /**
   * Starts. `onOutput` gets the uncompressed stream in order, in chunks of up to 1 MiB that are valid only during the call;
   * when it throws, or `skipOutput` was called, no more output comes and the rest of the blob is only hashed.
   */
  constructor(options: GzipIndexOptions, onOutput: (chunk: Buffer, deviceOffset: number) => void)
  readonly done: Promise<GzipIndexResult>
  /** Compressed bytes read so far. */
  readonly progress: number
  /** So many bytes of the blob can be read by now. */
  advance(available: number): void
  skipOutput(): void
  /** Ends the pass soon, also one that waits for bytes. */
  abort(): void
}

export interface FillOptions {
  readonly blob: FileStretch
  /** SpanRecords, consecutive, from the one in which the first piece begins to the one in which the last piece ends. */
  readonly spans: Buffer
  /** The packed window of the first of them; empty where it needs none. */
  readonly window: Buffer
  /** Where the span behind the last of `spans` begins, and its `bits`; the blob's length and 0 where there is none. */
  readonly compressedEnd: number
  readonly bitsEnd: number
  /** Where the pieces go: addresses of the file are those of the device. -1: nowhere, they are only returned. */
  readonly dataFd: number
  readonly firstPiece: number
  /** SHA-256 of each wanted piece, 32 bytes each; their number is the number of pieces. */
  readonly pieceDigests: Buffer
  readonly deviceSize: number
}

/**
 * Inflates whole pieces of a device: reads the spans, compares the digest of each span's compressed bytes, inflates,
 * compares each piece's digest, writes the pieces to `dataFd`. Nothing is written unless all of it was right.
 */
export interface FillResult {
  readonly status:
    'done' | 'source-changed' | 'bad-span' | 'bad-piece' | 'corrupt' | 'read-error' | 'write-error'
  readonly message: string
  readonly errno: number
  /** The pieces' bytes one after the other, where status is `done` or `write-error` (serving goes on without a disk). */
  readonly bytes: Buffer | undefined
}
export function fillPieces(options: FillOptions): Promise<FillResult>

/** Members of a plain tar in order, see tar_listing.h for which. */
export interface TarListing {
  /**
   * Eleven doubles for each: type byte, mode, uid, gid, bytes of content, mtime in seconds, device offset of its header, major
   * and minor device number, bytes of its path, bytes of its link's target.
   */
  readonly numbers: Buffer
  /** Path and target of each in turn. */
  readonly names: Buffer
}

/**
 * Lists the members of a plain tar from the header at `start` on, up to the first that is not as every archiver writes it, or
 * that cannot be read; never fails.
 */
export function listTar(options: {
  readonly archive: FileStretch
  readonly start: number
  readonly maxMembers: number
}): Promise<TarListing>

/** How the files of a lazy layer are laid out, and beyond what a table is left to others, see lazy_table.h. */
export interface LazyLayout {
  readonly alignment: number
  readonly large: number
  readonly pieceSize: number
  readonly maxDevice: number
  readonly maxEntries: number
  readonly maxChunks: number
  readonly maxChunk: number
  readonly maxChunkStored: number
  readonly maxPieceCost: number
  readonly chunkCost: number
}

/** The entries of an eStargz or zstd:chunked table of contents and the places of their chunks, see lazy_table.h. */
export interface LazyTable {
  /** Where the array of entries is in the document, without its brackets. */
  readonly arrayAt: number
  readonly arrayEnd: number
  readonly deviceSize: number
  /** Doubles for each entry, in the order of `LazyNumber` there. */
  readonly numbers: Buffer
  /** Name and target of each in turn, ASCII. */
  readonly names: Buffer
  /** Doubles of each segment of a file with holes: file offset, device offset, length. */
  readonly segments: Buffer
  /** Those of src/layer/chunk-table.ts. */
  readonly records: Buffer
}

/**
 * Reads a table of contents, whose bytes have to stay as they are until then; resolves with undefined where it is not as its writers
 * write it, or goes beyond a limit.
 */
export function readLazyTable(options: {
  readonly json: Uint8Array
  readonly layout: LazyLayout
  /** Whether a chunk is unpacked from the beginning of what holds it alone, as of gzip. */
  readonly endsEarly: boolean
  readonly blobSize: number
  readonly contentEnd: number
  /** A file behind all that are listed; its SHA-256 in hex digits. */
  readonly unlisted:
    | {
        readonly compressedOffset: number
        readonly innerOffset: number
        readonly size: number
        readonly sha256: string
      }
    | undefined
}): Promise<LazyTable | undefined>

/** How a server gets at the bytes of a device. All devices read as zeros between `size` and the next 4096. */
export type NativeDevice =
  | {
      /** A region of a file that is expected to stay as it is; another size, mtime or ctime is EIO for good. */
      readonly kind: 'region'
      readonly size: number
      readonly fd: number
      readonly offset: number
      readonly fileSize: number
      readonly mtimeNs: bigint
      readonly ctimeNs: bigint
    }
  | {
      /** A sparse file; byte i of `state` tells of the i-th MiB: 0 absent, 1 present but unchecked, >= 2 checked. */
      readonly kind: 'pieces'
      readonly size: number
      readonly fd: number
      readonly state: Uint8Array
      /** How the server tells who punches holes what it reads, see piece_use.h; empty where nobody does. */
      readonly use: Uint8Array
      /** Stretches of pieces can be had before the whole of them: `completePart`. */
      readonly hasParts: boolean
    }
  | {
      /** Rows of 32 bytes (u64 virtualOffset, deviceOffset, length, u32 device, u32 0), ascending; zeros between. */
      readonly kind: 'virtual'
      readonly size: number
      readonly rows: Buffer
    }
  | { readonly kind: 'memory'; readonly size: number; readonly bytes: Buffer }

export interface FuseServerOptions {
  /** /dev/fuse, of which the server becomes the owner; it closes it. */
  readonly fd: number
  /**
   * `erofs` serves the tree of the image `metadata`; `flat` serves the devices as files named `0`, `1`, … in one directory,
   * sizes rounded up to 4096, for the kernel's EROFS to mount.
   */
  readonly kind: 'erofs' | 'flat'
  readonly metadata: Buffer | undefined
  readonly devices: readonly NativeDevice[]
  readonly threads: number
  /** With `default_permissions` the kernel checks modes and access is never asked. */
  readonly checksAccess: boolean
  /**
   * Pieces [piece, piece + count) of a device are wanted and not checked, for `length` bytes from `offset` of the device on;
   * answered by `complete`, once per call. A piece is asked for once, but where the device has parts by each who wants another
   * stretch of it: then `completePart` and `failPart` answer too.
   */
  readonly onMiss: (
    device: number,
    piece: number,
    count: number,
    offset: number,
    length: number,
  ) => void
  /** A read of a device failed for good: its number, errno and a word for the log. */
  readonly onFault: (device: number, errno: number, what: string) => void
}

/** A FUSE server in threads of its own. It lives until the kernel ends the connection (ENODEV) or `stop`. */
export class FuseServer {
  constructor(options: FuseServerOptions)
  /** Settles when all threads have ended and the descriptor is closed; never rejects. */
  readonly ended: Promise<void>
  /** Answers a miss. errno 0: the state bytes are >= 2 now; else all that wait for one of the pieces get it. */
  complete(device: number, piece: number, count: number, errno: number): void
  /**
   * Answers a miss with bytes that are not in the file, for a full disk: what waits for the piece is served from a
   * small memory of the server, which keeps the last few such pieces.
   */
  completeWithBytes(device: number, piece: number, bytes: Buffer): void
  /** Answers those who want nothing but these bytes, from `offset` of a device that has parts on. */
  completePart(device: number, offset: number, bytes: Buffer): void
  /** Answers the same where they cannot be had, and nobody else. */
  failPart(device: number, offset: number, length: number, errno: number): void
  /** Makes every later read of a device fail with errno. */
  fail(device: number, errno: number): void
  stats(): {
    readonly requests: number
    readonly reads: number
    readonly bytesRead: number
    readonly misses: number
  }
  /** Aborts: every request under way is answered with EIO and the threads end. */
  stop(): void
}

/** Opens /dev/fuse, close-on-exec. */
export function openFuseDevice(): number
/**
 * Makes a FUSE superblock over `fuseFd` and mounts it at `mountpoint` with mount(2); needs CAP_SYS_ADMIN. The server need
 * not run yet. Without `allowOther` the kernel leaves modes to the server, whose `checksAccess` must then be set. Rejects with
 * an Error that has `code`, `errno` (negative, as those of Node.js), `syscall` and `step`.
 */
export function mountFuse(options: {
  readonly fuseFd: number
  readonly mountpoint: string
  readonly fsName: string
  readonly allowOther: boolean
  readonly flags: { readonly suid: boolean; readonly dev: boolean; readonly noexec: boolean }
}): Promise<void>
/**
 * Has fusermount3 make the same mount for an ordinary user, and gives the descriptor of /dev/fuse that it hands back. Rejects
 * with what it wrote.
 */
export function fusermount(options: {
  readonly mountpoint: string
  readonly fsName: string
  readonly allowOther: boolean
  readonly flags: { readonly suid: boolean; readonly dev: boolean; readonly noexec: boolean }
}): Promise<number>
/**
 * Makes the kernel driver's mount: an unattached FUSE superblock over `fuseFd`, whose server must be running, and EROFS from its
 * files 0 (the image) and 1… (the devices), attached at `mountpoint`. `step` in a rejection tells how far it came.
 * `sourceLink` is a path in a directory of the caller's where a symlink to the image is made, and removed when the mount is
 * there; the kernel shows that path as the mount's source.
 */
export function mountErofs(options: {
  readonly fuseFd: number
  readonly deviceCount: number
  readonly readAheadKib: number
  readonly mountpoint: string
  readonly sourceLink: string
  readonly flags: { readonly suid: boolean; readonly dev: boolean; readonly noexec: boolean }
}): Promise<void>
/**
 * Mounts EROFS at `mountpoint` from plain files, the image and its devices, which the kernel opens anew and reads by itself: no
 * server, and nothing that has to live on. The descriptors stay the caller's. `sourceLink` and `step` as with `mountErofs`.
 */
export function mountErofsFromFiles(options: {
  readonly imageFd: number
  readonly deviceFds: readonly number[]
  readonly mountpoint: string
  readonly sourceLink: string
  readonly flags: { readonly suid: boolean; readonly dev: boolean; readonly noexec: boolean }
}): Promise<void>
/**
 * Shows the mount at `source`, without what is mounted below it, at `mountpoint` too: read-only, with flags of its own.
 * `uidMap` and `gidMap`, of the form of /proc/PID/uid_map, shift the owners of its files; both empty: as they are.
 */
export function bindMount(options: {
  readonly source: string
  readonly mountpoint: string
  readonly uidMap: string
  readonly gidMap: string
  readonly flags: { readonly suid: boolean; readonly dev: boolean; readonly noexec: boolean }
}): Promise<void>
/**
 * Mounts a filesystem that the kernel makes by itself, with its own options in `data`. Rejects with E2BIG when those are longer
 * than the kernel reads.
 */
export function plainMount(options: {
  readonly type: string
  readonly source: string
  readonly mountpoint: string
  readonly data: string
  readonly flags: { readonly suid: boolean; readonly dev: boolean; readonly noexec: boolean }
}): Promise<void>
/**
 * Calls `onEvent` whenever the mounts of this process's namespace may have changed; or, with a `pid` other than 0, again and again
 * once that process has ended. Goes on until it is closed, and does not keep this process alive. Throws an Error that has `code`.
 */
export class Watch {
  constructor(options: { readonly pid: number; readonly onEvent: () => void })
  close(): void
}
/**
 * Replaces this process by a program, with default signals and standard descriptors that block; every other descriptor of
 * Node.js closes. Returns only by throwing.
 */
export function execve(path: string, args: readonly string[], environment: readonly string[]): never
/** Punches a hole: frees the blocks of a stretch of a file. */
export function punchHole(fd: number, offset: number, length: number): void
/**
 * Takes, changes or drops an OFD lock over a stretch of a file without waiting, a length of 0 being all from `offset` on; false
 * when another description is in the way.
 */
export function lockFile(
  fd: number,
  kind: 'read' | 'write' | 'none',
  offset: number,
  length: number,
): boolean
/** Returns freed memory of the C and C++ allocator to the system, where it would keep it. */
export function trimMemory(): void
