// The state of one live mount, a directory that its serving process keeps, and that outlives it where the mount does (`direct`):
//
//   <runtime dir>/<id>/mount.json     what follows, replaced as a whole on every change
//                      control.sock   see control.ts
//                      log            for the serving process to write to; of a shared one in the lower's directory
//
// starting ──▶ ready ──▶ (removed);  starting ──▶ failed ──▶ (removed by list-mounts.ts when the process is gone)
// direct: ready stays when the process goes, and is removed by list-mounts.ts when the mount is gone

import { readlinkSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { currentOwnerTag } from '../cache/process-owner.js'
import { createStateDirectory, readRecordFile, writeRecord } from './state-directory.js'

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
  /** The id of the lower that it is stacked on or bound to; see lower.ts. */
  readonly lower?: string
  readonly driver?: string
  /** `major:minor` of the filesystem at the mount point. */
  readonly device?: string
  readonly isWritable: boolean
  /** The kernel reads the archive itself, so that the mount needs no process. */
  readonly direct: boolean
  /** Names the mount namespace that the mount was made in. */
  readonly mountNamespace: string
  /** The bundle whose rootfs it is; a private one is removed with it. */
  readonly bundle?: { readonly directory: string; readonly isPrivate: boolean }
  readonly container?: ContainerRecord
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

/** A container that was started on a mount. */
export interface ContainerRecord {
  readonly id: string
  /** The program and its first arguments. */
  readonly runtime: readonly string[]
  /** The owner's tag of the process with which the container ends: the runtime in the foreground, or its first process. */
  readonly holder: string
}

/** What the serving process knows when it begins. */
export type NewMount = Pick<
  MountRecord,
  'mountpoint' | 'image' | 'options' | 'isWritable' | 'direct' | 'bundle' | 'container' | 'lower'
>
/** What may change later. */
export type MountChange = Partial<Omit<MountRecord, 'version' | 'id' | 'pid' | 'owner' | 'since'>>

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
    const id = newId()
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
    const directory = await createStateDirectory(id, RECORD_NAME, record)
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
    this.#writing = previous.then(async () => writeRecord(this.directory, RECORD_NAME, record))
    await this.#writing
  }

  /** Removes everything; the mount must be gone. */
  async remove(): Promise<void> {
    await this.#writing.catch(() => undefined)
    await rm(this.directory, { recursive: true, force: true })
  }
}

/** Makes an id for a state directory. */
export function newId(): string {
  return randomBytes(6).toString('hex')
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
  const value = await readRecordFile(directory, RECORD_NAME)
  return isRecord(value) ? value : undefined
}

/** Checks what cleaning up depends on; the directory is ours, so the rest is as we wrote it. */
function isRecord(value: unknown): value is MountRecord {
  if (typeof value !== 'object' || value === null) return false
  const { version, id, mountpoint, owner, since } = value as Record<string, unknown>
  const isText = [id, mountpoint, owner, since].every((field) => typeof field === 'string')
  return version === 1 && isText
}
