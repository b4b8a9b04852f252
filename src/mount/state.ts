// The state of one live mount, a directory that its serving process keeps, and that outlives it where the mount does (`direct`):
//
//   <runtime dir>/<id>/mount.json     what follows, replaced as a whole on every change
//                      control.sock   see control.ts
//                      log            for the serving process to write to
//
// starting ──▶ ready ──▶ (removed);  starting ──▶ failed ──▶ (removed by list-mounts.ts when the process is gone)
// direct: ready stays when the process goes, and is removed by list-mounts.ts when the mount is gone

import { readlinkSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { currentOwnerTag } from '../cache/process-owner.js'
import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError, systemErrorCode } from '../errors.js'
import { openRuntimeDir } from './runtime-dir.js'

/** What a person or a program may want to know about a mount; JSON-safe. */
export interface MountRecord {
  readonly version: 1
  readonly id: string
  readonly state: 'starting' | 'ready' | 'failed'
  /** Canonical. */
  readonly mountpoint: string
  /** As the user named it, and what was found. */
  readonly image: {
    readonly reference: string
    readonly name?: string
    readonly source?: string
    readonly digest?: string
    readonly platform?: string
  }
  /** Layer ids, base first. */
  readonly layers: readonly string[]
  readonly rootfsKey?: string
  readonly driver?: string
  /** `major:minor` of the filesystem at the mount point. */
  readonly device?: string
  readonly isWritable: boolean
  /** The kernel reads the archive itself, so that the mount needs no process. */
  readonly direct: boolean
  /** Names the mount namespace that the mount was made in. */
  readonly mountNamespace: string
  readonly options: Readonly<Record<string, string | number | boolean>>
  /** `unknown`: the process that hashed a direct mount was killed before it knew. */
  readonly verification: 'verified' | 'pending' | 'failed' | 'unknown'
  /** Why the mount failed, or its verification. */
  readonly error?: { readonly code: string; readonly message: string }
  /** Null in what list-mounts.ts gives for a direct mount that no process looks after any more. */
  readonly pid: number | null
  /** See cache/process-owner.ts: pid, start time, boot and namespaces. */
  readonly owner: string
  /** ISO 8601. */
  readonly since: string
}

/** What the serving process knows when it begins. */
export type NewMount = Pick<
  MountRecord,
  'mountpoint' | 'image' | 'options' | 'isWritable' | 'direct'
>
/** What may change later. */
export type MountChange = Partial<Omit<MountRecord, 'version' | 'id' | 'pid' | 'owner' | 'since'>>

/** Larger than any record; a file in our own directory should not be, but reading is bounded all the same. */
const MAX_RECORD_BYTES = 1 << 20
const RECORD_NAME = 'mount.json'

/** The state of a mount as the process that serves it sees it. */
export class MountState {
  readonly directory: string
  #record: MountRecord
  #writing: Promise<void> = Promise.resolve()

  private constructor(directory: string, record: MountRecord) {
    this.directory = directory
    this.#record = record
  }

  /**
   * Makes the directory and writes the first record, with the state `starting`.
   *
   * @throws OcimountError `STORAGE_FAILED`
   */
  static async create(mount: NewMount): Promise<MountState> {
    const runtimeDir = await openRuntimeDir()
    const id = randomBytes(6).toString('hex')
    const record: MountRecord = {
      version: 1,
      id,
      state: 'starting',
      ...mount,
      mountNamespace: currentMountNamespace(),
      layers: [],
      verification: 'pending',
      pid: process.pid,
      owner: currentOwnerTag(),
      since: new Date().toISOString(),
    }
    // Complete before it has its name: whoever cleans up never sees a directory without a record.
    const fresh = join(runtimeDir, `.new-${id}`)
    const directory = join(runtimeDir, id)
    try {
      await mkdir(fresh, { mode: 0o700 })
      await writeFile(join(fresh, RECORD_NAME), encode(record), { mode: 0o600 })
      await rename(fresh, directory)
    } catch (error) {
      await rm(fresh, { recursive: true, force: true })
      throw failed(directory, error)
    }
    return new MountState(directory, record)
  }

  get id(): string {
    return this.#record.id
  }

  get record(): MountRecord {
    return this.#record
  }

  get logPath(): string {
    return join(this.directory, 'log')
  }

  get controlPath(): string {
    return controlPath(this.directory)
  }

  /**
   * Changes the record; the file follows, in the order of the calls.
   *
   * @throws OcimountError `STORAGE_FAILED`
   */
  async update(change: MountChange): Promise<void> {
    this.#record = { ...this.#record, ...change }
    const record = this.#record
    const previous = this.#writing.catch(() => undefined)
    this.#writing = previous.then(async () => this.#write(record))
    await this.#writing
  }

  /** Removes everything; the mount must be gone. */
  async remove(): Promise<void> {
    await this.#writing.catch(() => undefined)
    await rm(this.directory, { recursive: true, force: true })
  }

  async #write(record: MountRecord): Promise<void> {
    const path = join(this.directory, RECORD_NAME)
    try {
      await writeFile(`${path}.new`, encode(record), { mode: 0o600 })
      await rename(`${path}.new`, path)
    } catch (error) {
      throw failed(this.directory, error)
    }
  }
}

/** Names the mount namespace of this process, whose table of mounts is all that it sees. */
export function currentMountNamespace(): string {
  return readlinkSync('/proc/self/ns/mnt')
}

/** Gives where the control socket of a state directory is. */
export function controlPath(directory: string): string {
  return join(directory, 'control.sock')
}

/** Reads the record in a state directory; undefined where there is none or it is not one of this version. */
export async function readRecord(directory: string): Promise<MountRecord | undefined> {
  let bytes: Buffer
  try {
    bytes = await readFile(join(directory, RECORD_NAME))
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw failed(directory, error)
  }
  if (bytes.length > MAX_RECORD_BYTES) return undefined
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return isRecord(value) ? value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Checks what cleaning up depends on; the directory is ours, so the rest is as we wrote it. */
function isRecord(value: unknown): value is MountRecord {
  if (typeof value !== 'object' || value === null) return false
  const { version, id, mountpoint, owner, since } = value as Record<string, unknown>
  const isText = [id, mountpoint, owner, since].every((field) => typeof field === 'string')
  return version === 1 && isText
}

function encode(record: MountRecord): string {
  return `${JSON.stringify(record, null, 2)}\n`
}

function failed(directory: string, cause: unknown): OcimountError {
  const why = escapeText(messageOf(cause))
  return new OcimountError(
    'STORAGE_FAILED',
    `Cannot keep the state of a mount in ${escapeText(directory)}: ${why}`,
    { cause },
  )
}
