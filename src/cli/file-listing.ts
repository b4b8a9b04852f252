// How files of an image are shown: mode strings, times, long lines, JSON rows.

import { escapeName, textOf, type ByteString } from '../byte-string.js'
import type { ErofsImage, ErofsInode } from '../erofs/reader.js'

const S_IFMT = 0o170000
const TYPES: Readonly<Record<number, readonly [letter: string, name: string]>> = {
  0o100000: ['-', 'file'],
  0o040000: ['d', 'directory'],
  0o120000: ['l', 'symlink'],
  0o020000: ['c', 'char'],
  0o060000: ['b', 'block'],
  0o010000: ['p', 'fifo'],
  0o140000: ['s', 'socket'],
}

/** `file`, `directory`, `symlink`, … */
export function typeName(mode: number): string {
  return TYPES[mode & S_IFMT]?.[1] ?? 'unknown'
}

/** The ten letters of `ls -l`, such as `-rwsr-xr-x`. */
export function modeString(mode: number): string {
  const letters = [TYPES[mode & S_IFMT]?.[0] ?? '?']
  for (const [shift, special, set, unset] of [
    [6, 0o4000, 's', 'S'],
    [3, 0o2000, 's', 'S'],
    [0, 0o1000, 't', 'T'],
  ] as const) {
    const bits = (mode >> shift) & 7
    const execute = mode & special ? (bits & 1 ? set : unset) : bits & 1 ? 'x' : '-'
    letters.push(bits & 4 ? 'r' : '-', bits & 2 ? 'w' : '-', execute)
  }
  return letters.join('')
}

/** `2026-11-21T10:00:00.123456789Z`; years beyond Date's range as seconds since 1970, `@8640000000001`. */
export function timeString(seconds: number, nanoseconds: number): string {
  const date = new Date(seconds * 1000)
  if (Number.isNaN(date.getTime())) return `@${seconds}.${String(nanoseconds).padStart(9, '0')}`
  const whole = date.toISOString().replace(/\.\d+Z$/, '')
  return nanoseconds === 0 ? `${whole}Z` : `${whole}.${String(nanoseconds).padStart(9, '0')}Z`
}

/** One file as a program wants it. Names that are not UTF-8 come escaped, with the bytes in `nameHex`. */
export function fileRow(image: ErofsImage, path: ByteString, nid: number): Record<string, unknown> {
  const inode = image.inode(nid)
  const text = textOf(path)
  const kind = inode.mode & S_IFMT
  return {
    path: text ?? escapeName(path),
    ...(text === undefined ? { pathHex: Buffer.from(path, 'latin1').toString('hex') } : {}),
    type: typeName(inode.mode),
    mode: (inode.mode & 0o7777).toString(8).padStart(4, '0'),
    uid: inode.uid,
    gid: inode.gid,
    size: inode.size,
    mtime: timeString(inode.mtimeSeconds, inode.mtimeNanoseconds),
    inode: nid,
    links: inode.nlink,
    ...(kind === 0o120000 ? { target: escapeName(image.readlink(nid)) } : {}),
    ...(isDevice(inode) ? { device: deviceNumbers(inode.rdev).join(':') } : {}),
  }
}

/** The cells of one `ls -l` line, name last. */
export function longCells(
  image: ErofsImage,
  nid: number,
  name: string,
): readonly (string | number)[] {
  const inode = image.inode(nid)
  const size = isDevice(inode) ? deviceNumbers(inode.rdev).join(',') : String(inode.size)
  const target = (inode.mode & S_IFMT) === 0o120000 ? ` -> ${escapeName(image.readlink(nid))}` : ''
  const time = timeString(inode.mtimeSeconds, 0).replace('T', ' ').replace(/Z$/, '')
  return [modeString(inode.mode), inode.nlink, inode.uid, inode.gid, size, time, name + target]
}

// Linux's order of the bits: 12 of the major number above the low 8 of the minor, whose rest comes first.
function deviceNumbers(rdev: number): readonly [major: number, minor: number] {
  return [(rdev >>> 8) & 0xfff, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)]
}

function isDevice(inode: ErofsInode): boolean {
  const kind = inode.mode & S_IFMT
  return kind === 0o020000 || kind === 0o060000
}
