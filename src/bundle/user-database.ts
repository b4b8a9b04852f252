// Lines of an image's /etc/passwd and /etc/group. Both files are the image's own choice: they are read inside its tree,
// with caps, and a line that counts must be well-formed. A number that does not parse is never taken for 0 (checklist
// C-040 to C-053, S-06 to S-08).

import { byteStringOf, escapeName, type ByteString } from '../byte-string.js'
import { S_IFMT, S_IFREG } from '../erofs/format.js'
import { isOcimountError, OcimountError } from '../errors.js'
import { resolvePath } from '../rootfs/resolve-path.js'
import type { ImageTree } from './image-tree.js'

/** Largest passwd or group file, in bytes; what containerd reads. */
export const MAX_DATABASE_SIZE = 10 * 1024 * 1024
/** Longest line of a passwd file, in bytes: what moby/sys/user and so runc reads. A group's list may be longer. */
export const MAX_PASSWD_LINE = 64 * 1024
/** Largest uid and gid: the kernel's ids are larger, but -1 and its neighbours have meanings of their own. */
export const MAX_ID = 2 ** 31 - 1

/** A line of /etc/passwd; the numbers are checked by whoever uses the line. */
export interface PasswdLine {
  readonly name: ByteString
  readonly uid: string
  readonly gid: string
  readonly home: ByteString
  readonly lineNumber: number
}

/** A line of /etc/group. */
export interface GroupLine {
  readonly name: ByteString
  readonly gid: string
  readonly members: readonly ByteString[]
  readonly lineNumber: number
}

/**
 * Reads the users of an image in the order of the file; none where it has no such file.
 *
 * @throws OcimountError `IMAGE_INVALID` where it is no regular file, `LIMIT_EXCEEDED`, what reading a layer throws
 */
export async function readPasswd(tree: ImageTree): Promise<PasswdLine[]> {
  const lines = await readLines(tree, '/etc/passwd')
  return lines.map(({ line, lineNumber }) => {
    if (line.length > MAX_PASSWD_LINE) {
      throw new OcimountError(
        'LIMIT_EXCEEDED',
        `Cannot read /etc/passwd of the image: line ${lineNumber} is longer than ${MAX_PASSWD_LINE} bytes`,
      )
    }
    const [name = '', , uid = '', gid = '', , home = ''] = line.split(':')
    return { name: name as ByteString, uid, gid, home: home as ByteString, lineNumber }
  })
}

/** Reads the groups, as {@link readPasswd}; here a `#` begins a comment. */
export async function readGroups(tree: ImageTree): Promise<GroupLine[]> {
  const lines = await readLines(tree, '/etc/group')
  return lines
    .filter(({ line }) => !line.startsWith('#'))
    .map(({ line, lineNumber }) => {
      const [name = '', , gid = '', list = ''] = line.split(':')
      const members = list === '' ? [] : (list.split(',') as ByteString[])
      return { name: name as ByteString, gid, members, lineNumber }
    })
}

/** Parses a decimal number from 0 to {@link MAX_ID}; anything else is undefined. */
export function parseId(text: string): number | undefined {
  if (!/^[0-9]+$/.test(text)) return undefined
  const value = Number(text)
  return value <= MAX_ID ? value : undefined
}

/**
 * Gives the number of a line that counts.
 *
 * @throws OcimountError `IMAGE_INVALID` where it is none
 */
export function idOfLine(
  text: string,
  { file, lineNumber, field }: { file: string; lineNumber: number; field: 'uid' | 'gid' },
): number {
  const id = parseId(text)
  if (id !== undefined) return id
  const shown = escapeName(text.slice(0, 40) as ByteString)
  throw new OcimountError(
    'IMAGE_INVALID',
    `Cannot use line ${lineNumber} of ${file} of the image: its ${field} "${shown}" is no number from 0 to ${MAX_ID}`,
  )
}

interface NumberedLine {
  readonly line: string
  readonly lineNumber: number
}

async function readLines(tree: ImageTree, path: string): Promise<NumberedLine[]> {
  const nid = findFile(tree, path)
  if (nid === undefined) return []
  const { mode, size } = tree.image.inode(nid)
  if ((mode & S_IFMT) !== S_IFREG) {
    throw new OcimountError(
      'IMAGE_INVALID',
      `Cannot read ${path} of the image: it is not a regular file`,
    )
  }
  if (size > MAX_DATABASE_SIZE) {
    throw new OcimountError(
      'LIMIT_EXCEEDED',
      `Cannot read ${path} of the image: its ${size} bytes are more than ${MAX_DATABASE_SIZE}`,
    )
  }
  const content = await tree.readFile(nid)
  return content
    .toString('latin1')
    .split('\n')
    .map((line, index) => ({ line: line.replace(BLANKS_AROUND, ''), lineNumber: index + 1 }))
    .filter(({ line }) => line !== '')
}

/** Symbolic links, absolute ones too, stay inside the image; one that leads nowhere is a file that is not there. */
function findFile(tree: ImageTree, path: string): number | undefined {
  try {
    return resolvePath(tree.image, byteStringOf(path), { followLast: true })
  } catch (error) {
    if (isOcimountError(error, 'PATH_NOT_FOUND')) return undefined
    throw error
  }
}

const BLANKS_AROUND = /^[ \t\r\v\f]+|[ \t\r\v\f]+$/g
