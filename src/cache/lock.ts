// Locks between processes, made of files since Node has no flock. For one name:
//
//   <lock>               the lock: two lines, a random token and the owner's tag; made by link(2) of a finished file
//   <lock>.<token>.<n>   claim n (1, 2, …) on the lock with that token; its second line is the owner
//
// The holder is the owner of the highest claim, or of the lock itself while there is none. To take a lock:
//   free     link the own file to <lock>.
//   owner dead   link the own file to the next claim: of many that try, link(2) lets one through. Then read <lock>
//            again: the same token there means that it is held, any other that it was released long ago and
//            the claim is void. This is sound because <lock> with that token is unlinked by its holder alone,
//            and after the claim was made nobody else can be that: all owners below are dead.
// To give it back: unlink <lock>, then the claims, which nobody can mistake for those of a later token.
// A lock saves work, it never protects bytes: those are safe by rename alone. So an owner in another pid
// namespace, who cannot be asked, may be taken for dead after a while without a sign of life (mtime).

import { createHash, randomBytes } from 'node:crypto'
import { unlinkSync } from 'node:fs'
import { link, readFile, unlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isOcimountError, systemErrorCode } from '../errors.js'
import { log } from '../logger.js'
import { FILE_MODE, withParent } from './durable.js'
import { atExit } from './exit-cleanup.js'
import { LockWait, SIGN_OF_LIFE_MS, type LockOptions, type LockState } from './lock-wait.js'
import { currentOwnerTag } from './process-owner.js'
import { temporaryPath } from './staging.js'
import { isExisting, isMissing, storageError } from './storage-error.js'

/**
 * Runs `work` while no other process, and nothing else in this one, holds the lock of that name.
 *
 * Not reentrant. The lock of a process that died is taken over.
 *
 * @throws OcimountError `CACHE_LOCKED` after the time-out, naming the owner; `INTERRUPTED`; `STORAGE_FULL`,
 *   `STORAGE_FAILED`; and what `work` throws
 */
export async function withFileLock<T>(
  place: { locks: string; tmp: string },
  name: string,
  work: () => Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  const path = join(place.locks, lockFileName(name))
  let lock: HeldLock
  try {
    lock = await acquire(path, place.tmp, name, options)
  } catch (error) {
    throw storageError(error, 'lock', path)
  }
  try {
    return await work()
  } finally {
    await lock.release()
  }
}

/** Takes over a lock whose owner is dead and gives it back; one that is held stays. */
export async function clearDeadLock(place: { path: string; tmp: string }): Promise<void> {
  const { path, tmp } = place
  try {
    await (await acquire(path, tmp, path, { timeoutMs: 0 })).release()
  } catch (error) {
    if (!isOcimountError(error, 'CACHE_LOCKED')) throw storageError(error, 'remove', path)
  }
}

/** Gives the file name of a lock: readable, and different for different names. */
export function lockFileName(name: string): string {
  const readable = name.replace(/[^A-Za-z0-9_-]/g, '-').slice(0, 100)
  return `${readable}-${createHash('sha256').update(name).digest('hex').slice(0, 16)}`
}

async function acquire(
  path: string,
  tmp: string,
  name: string,
  options: LockOptions,
): Promise<HeldLock> {
  const token = randomBytes(8).toString('hex')
  const own = temporaryPath(tmp)
  const content = `${token}\n${currentOwnerTag()}\n`
  await withParent(own, () => writeFile(own, content, { flag: 'wx', mode: FILE_MODE }))
  try {
    const wait = new LockWait(name, options)
    for (;;) {
      if (await tryLink(own, path)) return new HeldLock(path, token, 0)
      const state = await readLock(path)
      if (state === undefined) continue
      if (await wait.isDead(state)) {
        const claim = claimPath(path, state.token, state.claims + 1)
        if (!(await tryLink(own, claim))) continue
        const after = await readLock(path)
        if (after?.token === state.token) {
          log.info({ lock: name, owner: state.owner }, 'took over the lock of a dead process')
          return new HeldLock(path, state.token, state.claims + 1)
        }
        await unlinkIfPresent(claim)
        continue
      }
      await wait.pause(state)
    }
  } finally {
    await unlinkIfPresent(own)
  }
}

class HeldLock {
  readonly #path: string
  readonly #token: string
  readonly #claim: number
  readonly #forget: () => void
  readonly #timer: NodeJS.Timeout

  constructor(path: string, token: string, claim: number) {
    this.#path = path
    this.#token = token
    this.#claim = claim
    this.#forget = atExit(() => {
      for (const file of this.#files()) unlinkSync(file)
    })
    this.#timer = setInterval(() => void this.#showLife(), SIGN_OF_LIFE_MS).unref()
  }

  async release(): Promise<void> {
    clearInterval(this.#timer)
    this.#forget()
    const state = await readLock(this.#path)
    if (state?.token !== this.#token || state.claims !== this.#claim) {
      // Only an owner in another pid namespace that gave no sign of life can lose its lock.
      log.warn({ lock: this.#path }, 'the lock was taken over while it was held')
      return
    }
    for (const file of this.#files()) await unlinkIfPresent(file)
  }

  #files(): string[] {
    const files = [this.#path]
    for (let n = 1; n <= this.#claim; n++) files.push(claimPath(this.#path, this.#token, n))
    return files
  }

  async #showLife(): Promise<void> {
    const now = new Date()
    try {
      await utimes(this.#files().at(-1) ?? this.#path, now, now)
    } catch (error) {
      log.debug({ lock: this.#path, why: String(error) }, 'could not refresh a lock')
    }
  }
}

/** Gives the state of a lock, or undefined when it is free. */
async function readLock(path: string): Promise<LockState | undefined> {
  const content = await readOwned(path)
  if (content === undefined) return undefined
  let owner = content.owner
  let ownerPath = path
  let claims = 0
  for (;;) {
    const next = claimPath(path, content.token, claims + 1)
    const claim = await readOwned(next)
    if (claim === undefined) return { token: content.token, claims, owner, ownerPath }
    owner = claim.owner
    ownerPath = next
    claims++
  }
}

async function readOwned(path: string): Promise<{ token: string; owner: string } | undefined> {
  try {
    const [token = '', owner = ''] = (await readFile(path, 'latin1')).split('\n')
    return { token: TOKEN.test(token) ? token : 'torn', owner }
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

const TOKEN = /^[0-9a-f]{16}$/

function claimPath(path: string, token: string, claim: number): string {
  return `${path}.${token}.${claim}`
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await withParent(to, () => link(from, to))
    return true
  } catch (error) {
    if (isExisting(error)) return false
    throw error
  }
}

async function unlinkIfPresent(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    if (!isMissing(error)) throw storageError(error, 'remove', path)
  }
}
