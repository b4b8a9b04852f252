// The image's `Volumes` as mounts, so that data does not land in the root filesystem (checklist C-023, C-024).

import { byteStringOf } from '../byte-string.js'
import { S_IFDIR, S_IFMT } from '../erofs/format.js'
import { isOcimountError } from '../errors.js'
import { quote } from '../image/quote.js'
import { resolvePath } from '../rootfs/resolve-path.js'
import { cleanContainerPath, isAtOrBelow, RUNTIME_DIRECTORIES } from './container-path.js'
import type { ImageTree } from './image-tree.js'
import { refusedValue } from './origin.js'
import type { Profile } from './profiles/profile.js'
import type { RuntimeMount } from './runtime-config.js'

/**
 * Gives the volumes' paths, clean, sorted and each once.
 *
 * @throws OcimountError `IMAGE_INVALID` for one that is relative, has a `..` part, is the root or lies in /proc, /sys or /dev
 */
export function volumePaths(volumes: readonly string[]): string[] {
  const paths = volumes.map((volume) => {
    const path = cleanContainerPath(volume, 'image', 'volume')
    const subject = `volume ${quote(volume)}`
    if (path === '/') throw refusedValue('image', subject, 'it is the root')
    const directory = RUNTIME_DIRECTORIES.find((name) => isAtOrBelow(path, name))
    if (directory === undefined) return path
    throw refusedValue('image', subject, `${directory} is not its own`)
  })
  return [...new Set(paths)].sort()
}

/** Gives the mount of a volume in the way of the profile. */
export function volumeMount(
  tree: ImageTree,
  path: string,
  kind: Exclude<Profile['volumes'], 'ignore'>,
): RuntimeMount {
  if (kind === 'empty-tmpfs') {
    const options = ['rw', 'nosuid', 'nodev', 'noexec', 'relatime']
    return { destination: path, type: 'tmpfs', source: 'none', options }
  }
  // The directory keeps its owner and mode, which programs of the image count on, and what is in it.
  const directory = directoryAt(tree, path)
  const { mode, uid, gid } = directory ?? { mode: 0o755, uid: 0, gid: 0 }
  return {
    destination: path,
    type: 'tmpfs',
    source: 'tmpfs',
    options: [
      ...['rw', 'nosuid', 'nodev', 'relatime'],
      `mode=${(mode & 0o7777).toString(8)}`,
      ...(uid === 0 ? [] : [`uid=${uid}`]),
      ...(gid === 0 ? [] : [`gid=${gid}`]),
      ...(directory === undefined ? [] : ['tmpcopyup']),
    ],
  }
}

function directoryAt(
  { image }: ImageTree,
  path: string,
): { mode: number; uid: number; gid: number } | undefined {
  try {
    const inode = image.inode(resolvePath(image, byteStringOf(path), { followLast: true }))
    return (inode.mode & S_IFMT) === S_IFDIR ? inode : undefined
  } catch (error) {
    if (isOcimountError(error, 'PATH_NOT_FOUND')) return undefined
    throw error
  }
}
