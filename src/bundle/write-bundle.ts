// A bundle on disk: a directory with config.json, the files that it mounts, and an empty `rootfs` to mount the image at.
//
//   DIR/config.json  DIR/<files>  DIR/rootfs/  (DIR/upper/  DIR/work/, made by the overlay)

import { randomBytes } from 'node:crypto'
import { lstat, mkdir, readdir, realpath, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError, systemErrorCode } from '../errors.js'
import type { Conversion } from './conversion.js'
import type { UnfinishedBundle } from '../mount/lower-record.js'
import { inodeOf } from '../mount/tear-down.js'
import { letThrough } from './passage.js'
import { encodeRuntimeConfig } from './runtime-config.js'

/** The directory of a bundle in which the image is mounted. */
export const ROOTFS_NAME = 'rootfs'

/**
 * Checks that a bundle can be made at a path, and gives the path with the links on the way resolved.
 *
 * @throws OcimountError `MOUNTPOINT_INVALID` where something is there that is no empty directory, or a symbolic link
 */
export async function checkBundlePlace(directory: string): Promise<string> {
  try {
    const parent = await realpath(dirname(directory))
    const place = join(parent, basename(directory))
    const stats = await lstat(place).catch((error: unknown) => {
      if (systemErrorCode(error) === 'ENOENT') return undefined
      throw error
    })
    if (stats === undefined) return place
    if (stats.isSymbolicLink()) throw refused(directory, 'it is a symbolic link')
    if (!stats.isDirectory()) throw refused(directory, 'it is not a directory')
    if ((await readdir(place)).length > 0) throw refused(directory, 'it is not empty')
    return place
  } catch (error) {
    if (error instanceof OcimountError) throw error
    const isMissing = systemErrorCode(error) === 'ENOENT'
    throw refused(directory, isMissing ? 'its parent does not exist' : messageOf(error), error)
  }
}

/**
 * Writes a bundle at a place that `checkBundlePlace` accepted: all of it, or nothing.
 *
 * @param note keeps what is to be removed should this process be killed; called before there is anything, and again when it is
 *   known which directory it is
 * @throws OcimountError `MOUNTPOINT_INVALID`, `STORAGE_FULL`, `STORAGE_FAILED`
 */
export async function writeBundle(
  place: string,
  conversion: Conversion,
  note?: (bundle: UnfinishedBundle) => Promise<void>,
): Promise<void> {
  const name = `.${basename(place).slice(0, 100)}-${randomBytes(6).toString('hex')}`
  const bundle = { directory: place, fresh: join(dirname(place), name) }
  const { fresh } = bundle
  await note?.(bundle)
  try {
    await mkdir(fresh, { mode: 0o700 })
    await note?.({ ...bundle, inode: await inodeOf(fresh) })
    await writeFile(join(fresh, 'config.json'), encodeRuntimeConfig(conversion.config), {
      mode: 0o600,
    })
    for (const { name, content } of conversion.files) {
      await writeFile(join(fresh, name), content, { mode: 0o644 })
    }
    await mkdir(join(fresh, ROOTFS_NAME), { mode: 0o755 })
    await letThrough(fresh, conversion.config)
    // Takes the place of an empty directory, and of nothing else.
    await rename(fresh, place)
  } catch (error) {
    await rm(fresh, { recursive: true, force: true })
    if (error instanceof OcimountError) throw error
    const code = systemErrorCode(error)
    if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'ENOTDIR') {
      throw refused(place, 'something else was put there meanwhile', error)
    }
    throw new OcimountError(
      code === 'ENOSPC' || code === 'EDQUOT' ? 'STORAGE_FULL' : 'STORAGE_FAILED',
      `Cannot make the bundle ${escapeText(place)}: ${escapeText(messageOf(error))}`,
      { cause: error },
    )
  }
}

function refused(directory: string, why: string, cause?: unknown): OcimountError {
  return new OcimountError(
    'MOUNTPOINT_INVALID',
    `Cannot make a bundle at ${escapeText(directory)}: ${escapeText(why)}`,
    cause === undefined ? {} : { cause },
  )
}
