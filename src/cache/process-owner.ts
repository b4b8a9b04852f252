// Who owns a lock, a lease or a staging directory, as one word that is safe in a file name:
//
//   <pid>-<start time in ticks since boot>-<boot id, 32 hex digits>-<pid namespace>-<time namespace>
//
// A pid alone is reused; with its start time it is not, within one boot. Both mean something only to a reader
// in the same pid and time namespace: for an owner in another one (a container with the same cache
// bind-mounted) the answer is 'unknown', never a guess. A cache belongs to one machine: another boot id
// means that the machine was started anew.

import { readFileSync, readlinkSync } from 'node:fs'
import { OcimountError, systemErrorCode } from '../errors.js'

export type OwnerState = 'alive' | 'dead' | 'unknown'

/** The facts in an owner's tag. */
export interface ProcessOwner {
  readonly pid: number
  readonly startTime: string
  readonly bootId: string
  readonly namespaces: string
}

let ownTag: string | undefined

/**
 * Gives the tag of this process.
 *
 * @throws OcimountError `STORAGE_FAILED` where /proc is not mounted: processes cannot be told apart then.
 */
export function currentOwnerTag(): string {
  ownTag ??= readOwnTag()
  return ownTag
}

/** Gives the tag of another process; undefined where it does not run, or in another namespace than this one. */
export function ownerTagOf(pid: number): string | undefined {
  const self = parseOwnerTag(currentOwnerTag())
  const process = readProcess(String(pid))
  if (self === undefined || process === undefined || process.state === 'Z') return undefined
  return `${pid}-${process.startTime}-${self.bootId}-${self.namespaces}`
}

/** Takes a tag apart, or gives undefined for text that is none. */
export function parseOwnerTag(tag: string): ProcessOwner | undefined {
  const match = TAG.exec(tag)
  if (match === null) return undefined
  const [, pid = '', startTime = '', bootId = '', namespaces = ''] = match
  return { pid: Number(pid), startTime, bootId, namespaces }
}

/** Tells whether the process behind a tag still runs; text that is no tag is 'unknown'. */
export function judgeOwner(tag: string): OwnerState {
  const own = currentOwnerTag()
  if (tag === own) return 'alive'
  const owner = parseOwnerTag(tag)
  const self = parseOwnerTag(own)
  if (owner === undefined || self === undefined) return 'unknown'
  if (owner.bootId !== self.bootId) return 'dead'
  if (owner.namespaces !== self.namespaces) return 'unknown'
  const process = readProcess(String(owner.pid))
  if (process === undefined) return isPidInUse(owner.pid) ? 'unknown' : 'dead'
  if (process.startTime !== owner.startTime) return 'dead'
  // A zombie holds nothing any more; its parent may take for ever to collect it.
  return process.state === 'Z' || process.state === 'X' ? 'dead' : 'alive'
}

/** Tells whether the process behind a tag belongs to the time since the machine was started. */
export function isOfThisBoot(tag: string): boolean {
  return parseOwnerTag(tag)?.bootId === parseOwnerTag(currentOwnerTag())?.bootId
}

const TAG = /^([1-9]\d{0,9})-(\d{1,20})-([0-9a-f]{32})-(\d{1,10}-\d{1,10})$/

function readOwnTag(): string {
  const self = readProcess('self')
  if (self === undefined) {
    throw new OcimountError('STORAGE_FAILED', 'Cannot use the cache: /proc is not mounted')
  }
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').replace(/[^0-9a-f]/g, '')
  return `${process.pid}-${self.startTime}-${bootId}-${namespaceOf('pid')}-${namespaceOf('time')}`
}

function readProcess(pid: string): { state: string; startTime: string } | undefined {
  let line: string
  try {
    line = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return undefined
    throw error
  }
  // The name in parentheses may hold spaces and parentheses itself; what counts follows the last one.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  return { state: fields[0] ?? '', startTime: fields[19] ?? '' }
}

function isPidInUse(pid: number): boolean {
  // With hidepid the process may run and its /proc entry still be hidden from us.
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return systemErrorCode(error) !== 'ESRCH'
  }
}

function namespaceOf(kind: 'pid' | 'time'): string {
  try {
    return readlinkSync(`/proc/self/ns/${kind}`).replace(/\D/g, '')
  } catch (error) {
    // Time namespaces came with Linux 5.6; before that there is one for all.
    if (systemErrorCode(error) === 'ENOENT') return '0'
    throw error
  }
}
