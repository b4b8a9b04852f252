// A mounted image on which mounts stack, so that all of them share one server and one page cache.
//
//   lower/ ◀── bind mount at a mount point
//          ◀── overlay at another one, or in a bundle
//
// It lives in the process that serves it. Each mount on it is a reference, which the process watches itself; when the last
// one has gone, it unmounts the lower, and is done when the kernel ends the connection: a copy of a mount in another
// namespace, or a file that is still open, needs the server longer than any table of mounts tells.

import { mkdir, realpath, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { currentOwnerTag } from '../cache/process-owner.js'
import { messageOf, OcimountError } from '../errors.js'
import { log } from '../logger.js'
import type { Attachment } from './attachment.js'
import { serveControl, type ControlServer } from './control.js'
import type { DriverName, MountFlags, MountTarget } from './driver.js'
import { LOWER_RECORD, lowerPath, type LowerRecord, type UnfinishedBundle } from './lower-record.js'
import { mountLower, type RootfsMount } from './mount.js'
import { readMountinfo } from './mountinfo.js'
import { Reference, type ReferenceBase } from './reference.js'
import { newId, type MountChange, type MountRecord } from './state.js'
import { createStateDirectory, writeRecord } from './state-directory.js'
import { watchMounts } from './watch.js'

export interface LowerOptions extends Pick<MountFlags, 'allowOther' | 'fsName'> {
  readonly driver: DriverName
}

/** What the owner of a lower knows and its references tell. */
export interface LowerFacts {
  /** For the records of new references. */
  record(): MountChange
  describe(): Promise<Readonly<Record<string, unknown>>>
  /** Hashes what is not verified yet; rejects when it is not what it must be. */
  verify(): Promise<void>
  exclusively: ReferenceBase['exclusively']
}

/** The state directory of a lower to be, before anything is mounted. */
export interface LowerDirectory {
  readonly id: string
  readonly directory: string
  readonly logPath: string
  /** Has a bundle removed when this process is killed before it is mounted in. */
  readonly noteBundle: (bundle: UnfinishedBundle) => Promise<void>
  remove(): Promise<void>
}

/**
 * Makes the state directory of a lower.
 *
 * @throws OcimountError `STORAGE_FAILED`
 */
export async function createLowerDirectory(): Promise<LowerDirectory> {
  const id = newId()
  // Canonical, since the table of mounts is.
  const directory = await realpath(await createStateDirectory(id, LOWER_RECORD, recordOf(id)))
  return {
    id,
    directory,
    logPath: join(directory, 'log'),
    noteBundle: (bundle) => writeRecord(directory, LOWER_RECORD, { ...recordOf(id), bundle }),
    remove: () => rm(directory, { recursive: true, force: true }),
  }
}

export class Lower {
  readonly mount: RootfsMount
  /** Resolves when nothing is mounted any more and the kernel has ended the connection; never rejects. */
  readonly ended: Promise<void>
  readonly #place: LowerDirectory
  readonly #target: MountTarget
  readonly #facts: LowerFacts
  readonly #references = new Set<Reference>()
  #control: ControlServer | undefined
  #attaching = 0
  #isEnding = false

  private constructor(parts: {
    readonly mount: RootfsMount
    readonly place: LowerDirectory
    readonly target: MountTarget
    readonly facts: LowerFacts
  }) {
    this.mount = parts.mount
    this.#place = parts.place
    this.#target = parts.target
    this.#facts = parts.facts
    const watch = watchMounts(() => void this.#check())
    this.ended = this.mount.finished.then(async () => {
      watch.close()
      // Somebody aborted the connection, or took the lower away: what stands on it is dead.
      this.#isEnding = true
      await this.detachAll()
      void this.#control?.close()
    })
  }

  /**
   * Mounts an image in a state directory, where nothing but its references shows it.
   *
   * @throws OcimountError of {@link mountLower}; nothing is mounted then
   */
  static async start(
    place: LowerDirectory,
    target: MountTarget,
    options: LowerOptions & { readonly facts: LowerFacts },
  ): Promise<Lower> {
    const { facts, ...flags } = options
    const path = lowerPath(place.directory)
    await mkdir(path, { mode: 0o700 })
    const mount = await mountLower(target, path, { ...flags, workDirectory: place.directory })
    const lower = new Lower({ mount, place, target, facts })
    try {
      lower.#control = await serveControl(place.directory, {
        attach: async (attachment) => lower.attach(attachment),
      })
      return lower
    } catch (error) {
      await mount.unmount({ lazy: true })
      throw error
    }
  }

  /** Lets other processes find it by its key. A bundle that was noted is finished by then. */
  async publish(key: string): Promise<void> {
    await writeRecord(this.#place.directory, LOWER_RECORD, recordOf(this.#place.id, key))
  }

  /**
   * Mounts the image at one more place; gives the record of that mount. When it fails, and nothing else is mounted on
   * the lower, the lower ends.
   *
   * @throws OcimountError `NOT_MOUNTED` when the lower is ending; of {@link Reference.make}
   */
  async attach(attachment: Attachment): Promise<MountRecord> {
    if (this.#isEnding) {
      throw new OcimountError('NOT_MOUNTED', 'Cannot mount: the serving process is about to end')
    }
    this.#attaching++
    try {
      if (attachment.verifyFirst) await this.#facts.verify()
      const reference = await Reference.make(this.#base(), attachment)
      this.#references.add(reference)
      // What happened to it before was told when it was not known yet.
      void this.#check()
      void reference.ended.then(() => {
        this.#references.delete(reference)
        this.#endIfUnused()
      })
      return reference.state.record
    } finally {
      this.#attaching--
      this.#endIfUnused()
    }
  }

  /** Detaches all that is mounted on it, whatever is in use; the lower ends then. */
  async detachAll(): Promise<void> {
    await Promise.all([...this.#references].map(async (reference) => reference.end()))
  }

  /** Changes the records of all that is mounted on it. */
  async update(change: MountChange): Promise<void> {
    await Promise.all([...this.#references].map(async ({ state }) => state.update(change)))
  }

  #base(): ReferenceBase {
    const { image } = this.#target
    return {
      id: this.#place.id,
      place: { path: lowerPath(this.#place.directory), rootInode: image.inode(image.rootNid) },
      facts: { ...this.#facts.record(), driver: this.mount.driver },
      describe: async () => this.#facts.describe(),
      isEnding: () => this.#isEnding,
      exclusively: this.#facts.exclusively,
    }
  }

  async #check(): Promise<void> {
    if (this.#references.size === 0) return
    const entries = await readMountinfo()
    await Promise.all([...this.#references].map(async (reference) => reference.check(entries)))
  }

  #endIfUnused(): void {
    if (this.#isEnding || this.#attaching > 0 || this.#references.size > 0) return
    this.#isEnding = true
    this.mount
      .unmount()
      .catch(async () => this.mount.unmount({ lazy: true }))
      .catch((error: unknown) => {
        log.error({ cause: messageOf(error) }, 'Cannot unmount')
      })
  }
}

function recordOf(id: string, key?: string): LowerRecord {
  const owner = currentOwnerTag()
  return { version: 1, id, pid: process.pid, owner, ...(key === undefined ? {} : { key }) }
}
