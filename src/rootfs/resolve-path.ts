// Finds a path in a tree as a process would whose root directory is the image (chroot(2), path_resolution(7)).

import { escapeName, type ByteString } from '../byte-string.js'
import { S_IFDIR, S_IFLNK, S_IFMT } from '../erofs/format.js'
import type { ErofsImage } from '../erofs/reader.js'
import { OcimountError } from '../errors.js'
import { MAX_SYMLINKS } from './limits.js'

/**
 * Gives the inode that a path leads to.
 *
 * The path starts at the root with or without a slash; an empty one is the root. Symbolic links on the way
 * are followed inside the image, `..` stops at the root. The last name is followed if `followLast` says so,
 * or if a slash stands behind it: then it must be a directory.
 *
 * @throws `PATH_NOT_FOUND` when a name does not exist, something on the way is no directory, or the way
 *   goes through more than {@link MAX_SYMLINKS} links; `CACHE_CORRUPT` from the image
 */
export function resolvePath(
  image: ErofsImage,
  path: ByteString,
  { followLast }: { readonly followLast: boolean },
): number {
  let nid = image.rootNid
  let rest: string = path
  let links = 0
  for (let at = 0; at < rest.length;) {
    const slash = rest.indexOf('/', at)
    const end = slash === -1 ? rest.length : slash
    const name = rest.slice(at, end) as ByteString
    at = end + 1
    if (name === '') continue
    if (kindOf(image, nid) !== S_IFDIR) throw notFound(path, 'a part of it is not a directory')
    const child = image.lookup(nid, name)
    if (child === undefined) throw notFound(path, `${escapeName(name)} does not exist`)
    const isLast = end === rest.length
    if (kindOf(image, child) === S_IFLNK && (!isLast || followLast)) {
      if (++links > MAX_SYMLINKS) throw notFound(path, 'it goes through too many symbolic links')
      const target = image.readlink(child)
      if (target.startsWith('/')) nid = image.rootNid
      rest = isLast ? target : `${target}/${rest.slice(at)}`
      at = 0
      continue
    }
    nid = child
  }
  if (rest.endsWith('/') && kindOf(image, nid) !== S_IFDIR)
    throw notFound(path, 'it is not a directory')
  return nid
}

function kindOf(image: ErofsImage, nid: number): number {
  return image.inode(nid).mode & S_IFMT
}

function notFound(path: ByteString, why: string): OcimountError {
  return new OcimountError(
    'PATH_NOT_FOUND',
    `Cannot find ${escapeName(path)} in the image: ${why}`,
    { details: { path: escapeName(path) } },
  )
}
