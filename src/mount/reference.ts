// One mount that stands on a lower: a bind mount or an overlay, and what came with it. It ends when it is unmounted, by
// whomever, and with the process that holds it where there is one.

import { messageOf, OcimountError } from '../errors.js'
import { log } from '../logger.js'
import type { Attachment } from './attachment.js'
import { serveControl, type ControlServer, type MountStatus } from './control.js'
import { readMountinfo, type MountEntry } from './mountinfo.js'
import { checkMountpoint } from './mountpoint.js'
import { checkOverlayAccess } from './overlay.js'
import { stackOn, type LowerPlace } from './stack.js'
import { MountState, type MountChange } from './state.js'
import { tearDown } from './tear-down.js'
import { detachMount, isMounted } from './unmount.js'
import { watchProcess, type Watch } from './watch.js'

/** What a reference needs of its lower. */
export interface ReferenceBase {
  readonly id: string
  readonly place: LowerPlace
  /** What the record says of it. */
  readonly facts: MountChange
  describe(): Promise<Readonly<Record<string, unknown>>>
  /** Whether the server goes, once the last reference has gone. */
  isEnding(): boolean
  /** Runs while nobody else mounts at the place. */
  exclusively<T>(mountpoint: string, work: () => Promise<T>): Promise<T>
}

export class Reference {
  readonly state: MountState
  /** Resolves when everything is taken away; never rejects. */
  readonly ended: Promise<void>
  readonly #entry: MountEntry
  #control: ControlServer | undefined
  #holder: Watch | undefined
  #ending: Promise<void> | undefined
  #settle: () => void = () => undefined

  private constructor(state: MountState, entry: MountEntry) {
    this.state = state
    this.#entry = entry
    this.ended = new Promise((resolve) => (this.#settle = resolve))
  }

  /**
   * Mounts. A failure leaves nothing behind.
   *
   * @throws OcimountError of {@link checkMountpoint} and {@link stackOn}, `STORAGE_FAILED`
   */
  static async make(base: ReferenceBase, attachment: Attachment): Promise<Reference> {
    const { mountpoint, image, options, bundle, container, writable, flags, idMaps } = attachment
    const isWritable = writable !== false
    if (isWritable) checkOverlayAccess()
    const state = await MountState.create({
      ...{ mountpoint, image, options, isWritable, direct: false, lower: base.id },
      ...(bundle === undefined ? {} : { bundle }),
      ...(container === undefined ? {} : { container }),
    })
    let reference: Reference | undefined
    try {
      const entry = await base.exclusively(mountpoint, async () => {
        const path = await checkMountpoint(mountpoint)
        const request = { mountpoint: path, writable, work: state.directory, flags, idMaps }
        return stackOn(base.place, request)
      })
      reference = new Reference(state, entry)
      await reference.#open(base)
      return reference
    } catch (error) {
      if (reference === undefined) await state.remove()
      else await reference.end()
      throw error
    }
  }

  /** Looks whether the mount is still there, and ends if it is not. */
  async check(entries: readonly MountEntry[]): Promise<void> {
    if (!isMounted(this.#entry, entries)) await this.end()
  }

  /**
   * Unmounts; with `lazy` also what is in use, a running container included.
   *
   * @throws OcimountError `MOUNT_BUSY`, `NOT_MOUNTED`, `MOUNT_DENIED`, `MOUNT_FAILED`
   */
  async unmount({ lazy }: { readonly lazy: boolean }): Promise<void> {
    const { container } = this.state.record
    if (container !== undefined && !lazy) {
      throw new OcimountError(
        'MOUNT_BUSY',
        `Cannot unmount: the container ${container.id} runs on it; stop it, or end it with --lazy`,
      )
    }
    if (container === undefined) await detachMount(this.#entry, lazy)
    await this.end()
  }

  /** Ends it in any case: what is still in use is detached. Never rejects. */
  async end(): Promise<void> {
    this.#ending ??= this.#end().finally(this.#settle)
    await this.#ending
  }

  async #open(base: ReferenceBase): Promise<void> {
    const { state } = this
    const { mountpoint, device } = this.#entry
    await state.update({ ...base.facts, state: 'ready', mountpoint, device })
    this.#control = await serveControl(state.directory, {
      status: async (): Promise<MountStatus> => ({
        record: state.record,
        ...(await base.describe()),
      }),
      unmount: async (options) => {
        await this.unmount(options)
        return { endsServer: base.isEnding() }
      },
      hold: async (holder) => this.#hold(holder),
    })
    if (state.record.container !== undefined) this.#watch(state.record.container.holder)
  }

  async #hold(holder: string): Promise<void> {
    const { container } = this.state.record
    if (container === undefined) return
    await this.state.update({ container: { ...container, holder } })
    this.#watch(holder)
  }

  #watch(holder: string): void {
    this.#holder?.close()
    this.#holder = watchProcess(holder, () => void this.end())
  }

  async #end(): Promise<void> {
    const { state } = this
    this.#holder?.close()
    try {
      await tearDown(state.record, state.directory, async () => {
        const entries = await readMountinfo()
        if (isMounted(this.#entry, entries)) await detachMount(this.#entry, true)
      })
    } catch (error) {
      // The record stays, for the next command to try again when this process is gone.
      log.error({ id: state.id, cause: messageOf(error) }, 'Cannot take a mount away')
    }
    // Not waited for: the request to unmount may be what ends it, and has its answer to come.
    void this.#control?.close()
  }
}
