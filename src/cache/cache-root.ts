// The directory that all of the cache lives in: where it is, whether it may be trusted, and how it starts.

import {
  closeSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
  type Stats,
} from 'node:fs'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { DIRECTORY_MODE, FILE_MODE } from './durable.js'
import { temporaryPath } from './staging.js'
import { isExisting, isMissing, storageError } from './storage-error.js'

/** What the place of the cache depends on, for tests to replace. */
export interface CacheEnvironment {
  readonly env: NodeJS.ProcessEnv
  readonly uid: number
  readonly home: string
}

/**
 * Gives the cache root: the one asked for, `$OCIMOUNT_CACHE_DIR`, `$XDG_CACHE_HOME/ocimount`, then
 * `/var/cache/ocimount` for root and `~/.cache/ocimount` for anybody else.
 *
 * @throws OcimountError `STORAGE_FAILED` when there is no home directory to put it in
 */
export function cacheRoot(asked?: string, environment = currentEnvironment()): string {
  const { env, uid, home } = environment
  const named = asked ?? env['OCIMOUNT_CACHE_DIR'] ?? ''
  if (named !== '') return resolve(named)
  const xdg = env['XDG_CACHE_HOME'] ?? ''
  // The XDG specification says to ignore a relative path.
  if (isAbsolute(xdg)) return join(xdg, 'ocimount')
  if (uid === 0) return '/var/cache/ocimount'
  if (isAbsolute(home)) return join(home, '.cache', 'ocimount')
  throw new OcimountError(
    'STORAGE_FAILED',
    'Cannot find a place for the cache: $HOME is not an absolute path; --cache-dir or $OCIMOUNT_CACHE_DIR names one',
  )
}

/**
 * Checks that the directory may be used as a cache and completes it where it is new. An existing, complete cache
 * is only looked at: nothing is written, nothing is waited for.
 *
 * @throws OcimountError `STORAGE_FAILED`, `STORAGE_FULL`
 */
export function openCacheRoot(root: string): void {
  try {
    let stats = lstatIfPresent(root)
    if (stats === undefined) {
      makeDirectories(root)
      stats = lstatSync(root)
    }
    checkTrust(root, stats)
    const names = new Set(readdirSync(root))
    if (!names.has(TAG_NAME) && !isFresh(names)) {
      // Pruning somebody's image layout or home directory would be hard to forgive.
      throw refused(root, 'it is not empty and not a cache of ocimount')
    }
    if (names.has(TAG_NAME)) checkTag(root)
    if (!COMPLETE.every((name) => names.has(name))) complete(root)
  } catch (error) {
    throw storageError(error, 'use the cache directory', root)
  }
}

function currentEnvironment(): CacheEnvironment {
  return { env: process.env, uid: process.geteuid?.() ?? 0, home: homedir() }
}

function checkTrust(root: string, stats: Stats): void {
  if (stats.isSymbolicLink()) throw refused(root, 'it is a symbolic link')
  if (!stats.isDirectory()) throw refused(root, 'it is not a directory')
  const uid = process.geteuid?.() ?? 0
  if (stats.uid !== uid) {
    throw refused(root, `it belongs to user ${stats.uid}, and this process runs as user ${uid}`)
  }
  if ((stats.mode & WRITABLE_BY_OTHERS) !== 0) {
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0')
    throw refused(root, `others may write to it (its mode is ${mode})`)
  }
  const parent = statSync(dirname(root))
  if ((parent.mode & 0o1002) === 0o0002) {
    throw refused(root, 'anybody may rename it (the directory above is writable and not sticky)')
  }
}

/** What the crash of a first start can leave before the tag is there. */
function isFresh(names: ReadonlySet<string>): boolean {
  return names.size === 0 || (names.size === 1 && names.has('tmp'))
}

function checkTag(root: string): void {
  if (readFileSync(join(root, TAG_NAME), 'utf8') !== TAG) {
    throw refused(root, `its ${TAG_NAME} is not one of this version of ocimount`)
  }
}

/** Makes what is missing. Several processes may do so at once. */
function complete(root: string): void {
  makeDirectoryIfMissing(join(root, 'tmp'))
  // First, since it is what makes a directory ours.
  writeIfMissing(root, TAG_NAME, TAG)
  for (const name of DIRECTORIES) makeDirectoryIfMissing(join(root, name))
  for (const [name, content] of FILES) writeIfMissing(root, name, content)
  const descriptor = openSync(root, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function writeIfMissing(root: string, name: string, content: string): void {
  const temporary = temporaryPath(join(root, 'tmp'))
  const descriptor = openSync(temporary, 'wx', FILE_MODE)
  try {
    writeSync(descriptor, content)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  if (name === TAG_NAME) {
    renameSync(temporary, join(root, name))
    return
  }
  try {
    linkSync(temporary, join(root, name))
  } catch (error) {
    if (!isExisting(error)) throw error
  } finally {
    rmSync(temporary, { force: true })
  }
}

// Not mkdir's own `recursive`: where a directory exists and takes no entry, as in /proc, Node.js 20 tries for ever.
function makeDirectories(path: string): void {
  if (lstatIfPresent(path) !== undefined) return
  makeDirectories(dirname(path))
  try {
    mkdirSync(path, DIRECTORY_MODE)
  } catch (error) {
    if (!isExisting(error)) throw error
  }
}

function makeDirectoryIfMissing(path: string): void {
  mkdirSync(path, { recursive: true, mode: DIRECTORY_MODE })
}

function lstatIfPresent(path: string): Stats | undefined {
  try {
    return lstatSync(path)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

function refused(root: string, why: string): OcimountError {
  return new OcimountError(
    'STORAGE_FAILED',
    `Cannot use the cache directory ${escapeText(root)}: ${why}`,
    { details: { path: root } },
  )
}

const WRITABLE_BY_OTHERS = 0o022
const TAG_NAME = 'CACHEDIR.TAG'
// The first line is that of https://bford.info/cachedir/, by which backup programs leave the directory out.
const TAG = `Signature: 8a477f597d28d172789f06886806bc55
# This directory is a cache of ocimount, layout 1. It may be deleted while nothing is mounted.
`
const DIRECTORIES = [
  'blobs/sha256',
  'layers',
  'rootfs',
  'archives',
  'decoded',
  'used',
  'locks',
  'leases',
]
const FILES: readonly (readonly [string, string])[] = [
  ['oci-layout', '{"imageLayoutVersion":"1.0.0"}'],
  [
    'index.json',
    '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}',
  ],
]
const COMPLETE = [TAG_NAME, 'tmp', 'oci-layout', 'index.json', 'blobs', ...DIRECTORIES.slice(1)]
