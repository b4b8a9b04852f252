// Finds live mounts and cleans up after serving processes that died: kill -9 leaves a state directory, and a mount on which
// every call answers ENOTCONN (FUSE), or all that is not in memory EIO (EROFS, overlay). A direct mount is alive without a
// process, as long as the table of mounts has it.

import { readdir, realpath, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { escapeText } from '../byte-string.js'
import { isOfThisBoot, judgeOwner } from '../cache/process-owner.js'
import { messageOf, systemErrorCode } from '../errors.js'
import { log } from '../logger.js'
import { readLowerRecord } from './lower-record.js'
import { FUSE_TYPE, isOurMount, mountAt, readMountinfo, type MountEntry } from './mountinfo.js'
import { locateMountpoint } from './mountpoint.js'
import { existingRuntimeDirs } from './runtime-dir.js'
import { currentMountNamespace, readRecord, type MountRecord } from './state.js'
import { removeUnfinished, tearDown } from './tear-down.js'
import { detach } from './unmount.js'

/** A live mount and where its state is. */
export interface FoundMount {
  readonly record: MountRecord
  readonly directory: string
}

const ID = /^[0-9a-f]{12}$/
/** A directory without a record is a half-done start, or what is left of one after this time. */
const ABANDONED_MS = 60_000

/** Gives this user's mounts that are alive, oldest first; cleans up after the others. */
export async function listMounts(): Promise<FoundMount[]> {
  const found: FoundMount[] = []
  for (const runtimeDir of await existingRuntimeDirs()) {
    for (const name of await readdir(runtimeDir)) {
      const directory = join(runtimeDir, name)
      const record = ID.test(name) ? await readRecord(directory) : undefined
      if (record === undefined) await cleanUpOther(directory, name)
      else if (judgeOwner(record.owner) !== 'dead') found.push({ record, directory })
      else if (await needsNoOwner(record)) found.push({ record: unserved(record), directory })
      else await cleanUp({ record, directory })
    }
  }
  return found.sort((a, b) => (a.record.since < b.record.since ? -1 : 1))
}

async function findWrong(
  mounts: readonly FoundMount[],
  mountpoint: string,
): Promise<FoundMount | undefined> {
  const wrong = mounts.filter(({ record }) => record.direct && record.verification === 'failed')
  if (wrong.length === 0) return undefined
  // Detached, so that going there asks no server.
  const path = await realpath(mountpoint).catch(() => mountpoint)
  return wrong.findLast(({ record }) => record.mountpoint === path)
}

/** Removes the state of a direct mount that was detached. */
export async function forgetMount({ record, directory }: FoundMount): Promise<void> {
  if (record.verification === 'failed') await rm(directory, { recursive: true, force: true })
  else await listMounts()
}

/**
 * Gives the live mount at a path, of a bundle, or with an id or that of a container; or the direct one that was there until it
 * was found wrong.
 */
export async function findMount(mountpointOrId: string): Promise<FoundMount | undefined> {
  const mounts = await listMounts()
  const entries = await readMountinfo()
  const path = await locateMountpoint(mountpointOrId, entries)
  const top = path === undefined ? undefined : mountAt(entries, path)
  // Not looked for in a mount of ours: a server that is stuck would have to answer.
  const inBundle =
    top !== undefined && isOurMount(top)
      ? undefined
      : await locateMountpoint(join(mountpointOrId, 'rootfs'), entries)
  const bundled = mounts.find(
    ({ record: { container, bundle, mountpoint } }) =>
      container?.id === mountpointOrId || (bundle !== undefined && mountpoint === inBundle),
  )
  if (bundled !== undefined) return bundled
  const atPath = mounts.filter(({ record }) => record.mountpoint === path)
  return (
    atPath.find(({ record }) => record.device === top?.device) ??
    atPath.at(-1) ??
    mounts.find(({ record }) => record.id === mountpointOrId) ??
    (await findWrong(mounts, mountpointOrId))
  )
}

/** Tells whether a mount is one that works though its process is dead. */
async function needsNoOwner({
  id,
  direct,
  state,
  verification,
  owner,
  mountNamespace,
}: MountRecord): Promise<boolean> {
  if (!direct || !isOfThisBoot(owner)) return false
  // Detached, but perhaps not by all that have files open there; shown until somebody unmounts it.
  if (verification === 'failed') return true
  if (state !== 'ready') return false
  // The table of another namespace is not ours to read; whoever lives there cleans up.
  if (mountNamespace !== currentMountNamespace()) return true
  return (await readMountinfo()).some((entry) => isOurMount(entry) && bearsId(entry, id))
}

/** What is to be said of a mount that no process looks after. */
function unserved(record: MountRecord): MountRecord {
  const { verification } = record
  return {
    ...record,
    pid: null,
    verification: verification === 'pending' ? 'unknown' : verification,
  }
}

async function cleanUp({ record, directory }: FoundMount): Promise<void> {
  try {
    const entries = await readMountinfo()
    await detachInside(directory, entries)
    // Not canonical before the mount was ready.
    const path = await locateMountpoint(record.mountpoint, entries)
    const entry = path === undefined ? undefined : mountAt(entries, path)
    await tearDown(record, directory, async () => {
      if (entry !== undefined && (await isDead(entry, record))) await detach(entry.mountpoint, true)
    })
    log.info({ id: record.id }, 'Cleaned up after a serving process that died')
  } catch (error) {
    // Tried again next time; a listing must not fail for it.
    const mountpoint = escapeText(record.mountpoint)
    log.warn({ id: record.id, mountpoint }, `Cannot clean up: ${messageOf(error)}`)
  }
}

/**
 * Tells whether a mount is what a dead process left; somebody else may have mounted there since.
 *
 * EROFS and an overlay go on answering from memory, and numbers of devices are used again; but see {@link bearsId}.
 */
async function isDead(entry: MountEntry, { id, lower = id }: MountRecord): Promise<boolean> {
  if (!isOurMount(entry)) return false
  if (entry.fsType !== FUSE_TYPE) return [id, lower].some((name) => bearsId(entry, name))
  try {
    await stat(entry.mountpoint)
    return false
  } catch (error) {
    return systemErrorCode(error) === 'ENOTCONN'
  }
}

/**
 * Tells whether an EROFS or an overlay belongs to a state directory, whose path is in the source of the one and in the lowerdir
 * of the other, from the first moment on.
 */
function bearsId({ source, superOptions }: MountEntry, id: string): boolean {
  return `${source},${superOptions}`.includes(`/${id}/`)
}

/** Detaches what was mounted in a state directory: a lower, and what is there only while an overlay is being stacked. */
async function detachInside(directory: string, entries: readonly MountEntry[]): Promise<void> {
  const path = await realpath(directory)
  const inside = entries.filter(({ mountpoint }) => mountpoint.startsWith(`${path}/`))
  for (const { mountpoint } of [...inside].reverse()) await detach(mountpoint, true)
}

/** A directory of no mount: of a lower, or of none. */
async function cleanUpOther(directory: string, name: string): Promise<void> {
  const lower = ID.test(name) ? await readLowerRecord(directory) : undefined
  if (lower === undefined) {
    await removeAbandoned(directory, name)
    return
  }
  if (judgeOwner(lower.owner) !== 'dead') return
  try {
    await detachInside(directory, await readMountinfo())
    if (lower.bundle !== undefined) await removeUnfinished(lower.bundle)
    await rm(directory, { recursive: true, force: true })
  } catch (error) {
    log.warn({ id: lower.id }, `Cannot clean up: ${messageOf(error)}`)
  }
}

async function removeAbandoned(directory: string, name: string): Promise<void> {
  if (!ID.test(name) && !name.startsWith('.new-')) return
  try {
    const { mtimeMs } = await stat(directory)
    if (Date.now() - mtimeMs > ABANDONED_MS) await rm(directory, { recursive: true, force: true })
  } catch (error) {
    // Gone: its own process was faster.
    if (systemErrorCode(error) !== 'ENOENT') log.warn({ directory }, messageOf(error))
  }
}
