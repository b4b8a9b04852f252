// What the driver fuse-native cannot show. Names, link targets and names of extended attributes cross into
// JavaScript as UTF-8, times as milliseconds without a sign.

import { setImmediate } from 'node:timers/promises'
import { textOf, type ByteString } from '../byte-string.js'
import type { ErofsImage } from '../erofs/reader.js'
import type { DriverLimit } from './driver.js'

/** Beyond this many nobody reads on. */
const MAX_LIMITS = 5000
/** Entries looked at in one turn of the event loop, some milliseconds. */
const SLICE = 1000

/** Lists every place of an image that the driver hides or alters, at most 5000. */
export async function listLimits(image: ErofsImage): Promise<DriverLimit[]> {
  const limits: DriverLimit[] = []
  let count = 0
  for (const limit of walk(image)) {
    if (limit !== undefined) limits.push(limit)
    if (limits.length >= MAX_LIMITS) break
    if (++count % SLICE === 0) await setImmediate()
  }
  return limits
}

const S_IFDIR = 0o040000
const S_IFLNK = 0o120000

/** Gives an item for each entry, undefined where all is well, so that the caller can pause between them. */
function* walk(image: ErofsImage): Generator<DriverLimit | undefined, void, undefined> {
  // Forged bytes can nest a directory in itself; each is entered once.
  const entered = new Set([image.rootNid])
  const pending = [{ nid: image.rootNid, path: '' as ByteString }]
  yield* checkInode(image, image.rootNid, '/' as ByteString)
  for (let parent = pending.pop(); parent !== undefined; parent = pending.pop()) {
    for (const { name, nid, type } of image.readdir(parent.nid)) {
      if (name === '.' || name === '..') continue
      const path = `${parent.path}/${name}` as ByteString
      if (textOf(name) === undefined) {
        const detail = 'its name is not UTF-8: it is hidden, with everything below it'
        yield { kind: 'hidden-name', path, detail }
        continue
      }
      yield* checkInode(image, nid, path)
      if (type === S_IFLNK && textOf(image.readlink(nid)) === undefined) {
        yield { kind: 'unreadable-link', path, detail: 'its target is not UTF-8: reading it fails' }
      }
      if (type === S_IFDIR && !entered.has(nid)) {
        entered.add(nid)
        pending.push({ nid, path })
      }
      yield undefined
    }
  }
}

function* checkInode(
  image: ErofsImage,
  nid: number,
  path: ByteString,
): Generator<DriverLimit, void, undefined> {
  if (image.inode(nid).mtimeSeconds < 0) {
    yield { kind: 'time-clamped', path, detail: 'its time is before 1970 and shows as 1970' }
  }
  for (const name of image.listxattr(nid)) {
    if (textOf(name) !== undefined) continue
    yield { kind: 'hidden-xattr', path, detail: 'a name of an extended attribute is not UTF-8' }
  }
}
