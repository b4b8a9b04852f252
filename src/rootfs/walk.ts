// Goes through a tree without recursion: how deep it is was the image's choice.

import { escapeName, type ByteString } from '../byte-string.js'
import type { ErofsImage } from '../erofs/reader.js'
import { S_IFDIR, S_IFMT } from '../erofs/format.js'
import { OcimountError } from '../errors.js'

/** A name in a directory. */
export interface WalkedName {
  /** As the walk's first directory was called, with the names since then. */
  readonly path: ByteString
  readonly name: ByteString
  readonly nid: number
}

export interface WalkedDirectory {
  readonly path: ByteString
  readonly nid: number
  /** 0 for the first one. */
  readonly depth: number
  /** In bytewise order, without `.` and `..`. */
  readonly names: readonly WalkedName[]
}

export interface WalkedEntry extends WalkedName {
  /** 1 for a name in the first directory. */
  readonly depth: number
  /** Whether no other name follows in the same directory. */
  readonly isLast: boolean
}

export interface WalkOptions {
  /** How many levels of names to go down; default all. */
  readonly maxDepth?: number
}

/**
 * Gives a directory and all below it, each before its subdirectories, in the order of `ls -R`.
 *
 * @throws `CACHE_CORRUPT` from the image, also when a directory turns up in two places; `INTERNAL` when
 *   `nid` is no directory
 */
export function* walkDirectories(
  image: ErofsImage,
  path: ByteString,
  nid: number,
  { maxDepth = Infinity }: WalkOptions = {},
): Generator<WalkedDirectory, void, undefined> {
  const known = new Set<number>()
  const waiting: { path: ByteString; nid: number; depth: number }[] = [{ path, nid, depth: 0 }]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    checkFirstVisit(known, next)
    const names = namesIn(image, next.path, next.nid)
    yield { ...next, names }
    const depth = next.depth + 1
    if (depth >= maxDepth) continue
    for (const name of names.toReversed()) {
      if (isDirectory(image, name.nid)) waiting.push({ path: name.path, nid: name.nid, depth })
    }
  }
}

/**
 * Gives all names below a directory, each directory's before the next name, in the order of `tree`.
 *
 * @throws as {@link walkDirectories}
 */
export function* walkTree(
  image: ErofsImage,
  path: ByteString,
  nid: number,
  { maxDepth = Infinity }: WalkOptions = {},
): Generator<WalkedEntry, void, undefined> {
  const known = new Set<number>()
  const waiting: WalkedEntry[] = []
  const push = (directory: { path: ByteString; nid: number }, depth: number): void => {
    if (depth > maxDepth) return
    checkFirstVisit(known, directory)
    const names = namesIn(image, directory.path, directory.nid)
    for (let index = names.length - 1; index >= 0; index--) {
      const name = names[index]
      if (name !== undefined) waiting.push({ ...name, depth, isLast: index === names.length - 1 })
    }
  }
  push({ path, nid }, 1)
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    yield next
    if (isDirectory(image, next.nid)) push(next, next.depth + 1)
  }
}

function namesIn(image: ErofsImage, path: ByteString, nid: number): WalkedName[] {
  const prefix = path === '' || path.endsWith('/') ? path : `${path}/`
  const names: WalkedName[] = []
  for (const { name, nid: child } of image.readdir(nid)) {
    if (name === '.' || name === '..') continue
    names.push({ path: (prefix + name) as ByteString, name, nid: child })
  }
  return names
}

function isDirectory(image: ErofsImage, nid: number): boolean {
  return (image.inode(nid).mode & S_IFMT) === S_IFDIR
}

/** A directory has one name; forged bytes could lead in circles. */
function checkFirstVisit(
  known: Set<number>,
  { path, nid }: { path: ByteString; nid: number },
): void {
  if (known.has(nid)) {
    throw new OcimountError(
      'CACHE_CORRUPT',
      `Cannot walk the tree at ${escapeName(path)}: the directory was met before`,
    )
  }
  known.add(nid)
}
