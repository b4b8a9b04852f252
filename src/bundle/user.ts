// The user of a container: the six forms of the config's `User`, looked up in the image's own files (checklist C-025 to
// C-031, C-040 to C-054).

import { byteStringOf, textOf, type ByteString } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { quote } from '../image/quote.js'
import type { ImageTree } from './image-tree.js'
import { refusedValue, type Origin } from './origin.js'
import {
  idOfLine,
  MAX_ID,
  parseId,
  readGroups,
  readPasswd,
  type GroupLine,
  type PasswdLine,
} from './user-database.js'

export interface ContainerUser {
  readonly uid: number
  readonly gid: number
  /**
   * The primary group first, so that no process can get rid of it (CVE-2023-25173), then those that list the user, unless
   * a group was given.
   */
  readonly additionalGids: readonly number[]
  /** Undefined where the image's passwd names none, or none that is an absolute path. */
  readonly home: string | undefined
}

/**
 * Finds out who `user`, `uid`, `user:group`, `uid:gid`, `uid:group` or `user:gid` is in an image.
 *
 * Empty stands for uid 0. A number is only ever an id and need not be in any file; its group is then 0. A name must be there.
 *
 * @throws OcimountError `USER_NOT_FOUND` for a name of the caller's that is not in the image, `IMAGE_INVALID` for one of the
 *   image's own, for files and lines that are not what they must be and for numbers beyond 2^31 - 1 (of the caller:
 *   `USAGE`), `LIMIT_EXCEEDED`, and what reading a layer throws
 */
export async function resolveUser(
  tree: ImageTree,
  spec: string,
  origin: Origin,
): Promise<ContainerUser> {
  const [userPart = '', groupPart = '', ...rest] = spec.split(':')
  if (rest.length > 0) throw refused(spec, origin, 'it has more than two parts')
  const line = await findUser(tree, { spec, part: userPart, origin })
  const uid = line === undefined ? (parseId(userPart) ?? 0) : uidOf(line)
  const home = line === undefined ? undefined : homeOf(line)
  const groups = groupPart !== '' || line !== undefined ? await readGroups(tree) : []
  if (groupPart !== '') {
    const gid = findGroup(groups, { spec, part: groupPart, origin })
    return { uid, gid, additionalGids: [gid], home }
  }
  if (line === undefined) return { uid, gid: 0, additionalGids: [0], home }
  const gid = idOfLine(line.gid, {
    file: '/etc/passwd',
    lineNumber: line.lineNumber,
    field: 'gid',
  })
  const memberships = groups.filter(({ members }) => members.includes(line.name)).map(gidOf)
  const additionalGids = [...new Set([gid, ...memberships])]
  if (additionalGids.length > MAX_GROUPS) {
    throw new OcimountError(
      'LIMIT_EXCEEDED',
      `Cannot use user ${quote(spec)}: it is in more than ${MAX_GROUPS} groups`,
    )
  }
  return { uid, gid, additionalGids, home }
}

/** NGROUPS_MAX of Linux. */
const MAX_GROUPS = 65_536

interface Part {
  readonly spec: string
  readonly part: string
  readonly origin: Origin
}

/** Gives the first line of a user; none for a number that has no line. */
async function findUser(tree: ImageTree, part: Part): Promise<PasswdLine | undefined> {
  const wanted = part.part === '' ? '0' : part.part
  const id = numberOf({ ...part, part: wanted })
  const users = await readPasswd(tree)
  if (id !== undefined) return users.find(({ uid }) => parseId(uid) === id)
  const name = byteStringOf(wanted)
  const found = users.find((user) => user.name === name)
  if (found === undefined) throw notFound(part, 'there is no such user in its /etc/passwd')
  return found
}

function findGroup(groups: readonly GroupLine[], part: Part): number {
  const id = numberOf(part)
  if (id !== undefined) return id
  const name = byteStringOf(part.part)
  const found = groups.find((group) => group.name === name)
  if (found === undefined) {
    throw notFound(part, `there is no group ${quote(part.part)} in its /etc/group`)
  }
  return gidOf(found)
}

/** What looks like a number is never looked up as a name, however large it is (checklist C-043, C-045). */
function numberOf({ spec, part, origin }: Part): number | undefined {
  if (!/^[+-]?[0-9]+$/.test(part)) return undefined
  const id = parseId(part)
  if (id !== undefined) return id
  throw refused(spec, origin, `${quote(part)} is no number from 0 to ${MAX_ID}`)
}

function uidOf({ uid, lineNumber }: PasswdLine): number {
  return idOfLine(uid, { file: '/etc/passwd', lineNumber, field: 'uid' })
}

function gidOf({ gid, lineNumber }: GroupLine): number {
  return idOfLine(gid, { file: '/etc/group', lineNumber, field: 'gid' })
}

function homeOf({ home }: { home: ByteString }): string | undefined {
  const text = textOf(home)
  return text?.startsWith('/') === true && !text.includes('\0') ? text : undefined
}

function refused(spec: string, origin: Origin, why: string): OcimountError {
  return refusedValue(origin, `user ${quote(spec)}`, why)
}

function notFound({ spec, origin }: Part, why: string): OcimountError {
  if (origin === 'image') return refused(spec, origin, why)
  return new OcimountError('USER_NOT_FOUND', `Cannot find user ${quote(spec)} in the image: ${why}`)
}
