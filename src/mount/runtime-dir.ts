// Where the state of live mounts is: gone with a reboot, as the mounts are, and for the user alone.

import { lstat, mkdir } from 'node:fs/promises'
import { isAbsolute, join, resolve } from 'node:path'
import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError, systemErrorCode } from '../errors.js'

/** What the place depends on, for tests to replace. */
export interface RuntimeEnvironment {
  readonly env: NodeJS.ProcessEnv
  readonly uid: number
}

const MODE = 0o700

/**
 * Gives the directories that may hold state, best first: `$OCIMOUNT_RUNTIME_DIR` alone if it is set; for root
 * `/run/ocimount`; `$XDG_RUNTIME_DIR/ocimount`; `/tmp/ocimount-<uid>`.
 */
export function runtimeDirCandidates(environment = currentEnvironment()): string[] {
  const { env, uid } = environment
  const named = env['OCIMOUNT_RUNTIME_DIR'] ?? ''
  if (named !== '') return [resolve(named)]
  const xdg = env['XDG_RUNTIME_DIR'] ?? ''
  return [
    // First for root: sudo may leave the variable of the user who called it.
    ...(uid === 0 ? ['/run/ocimount'] : []),
    // The XDG specification says to ignore a relative path.
    ...(isAbsolute(xdg) ? [join(xdg, 'ocimount')] : []),
    `/tmp/ocimount-${uid}`,
  ]
}

/**
 * Makes the directory for the state of live mounts where it is missing, and gives its path.
 *
 * @throws OcimountError `STORAGE_FAILED` when it is somebody else's, a symbolic link or open to others: whoever can
 *   write there could have us unmount what is not ours.
 */
export async function openRuntimeDir(environment = currentEnvironment()): Promise<string> {
  const failures: string[] = []
  let cause: unknown
  for (const path of runtimeDirCandidates(environment)) {
    try {
      await makeDirectory(path)
      await checkTrust(path, environment.uid)
      return path
    } catch (error) {
      if (error instanceof OcimountError) throw error
      // Root of a user namespace may not write to /run, and XDG_RUNTIME_DIR may be gone after a logout.
      failures.push(messageOf(error))
      cause = error
    }
  }
  throw new OcimountError(
    'STORAGE_FAILED',
    `Cannot keep the state of mounts: ${escapeText(failures.join('; '))}`,
    { cause },
  )
}

/** Gives those of the directories that exist and may be trusted, without making any. */
export async function existingRuntimeDirs(environment = currentEnvironment()): Promise<string[]> {
  const found: string[] = []
  for (const path of runtimeDirCandidates(environment)) {
    try {
      await checkTrust(path, environment.uid)
      found.push(path)
    } catch (error) {
      if (error instanceof OcimountError) continue
      const code = systemErrorCode(error)
      if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EACCES') throw error
    }
  }
  return found
}

/**
 * Gives the directory for the bundles of containers that `run` starts, on a disk: `$OCIMOUNT_DATA_DIR`, for root
 * `/var/lib/ocimount`, else `$XDG_DATA_HOME/ocimount`; `containers` in it.
 *
 * @throws OcimountError `STORAGE_FAILED`
 */
export async function containersDirectory(environment = currentEnvironment()): Promise<string> {
  const { env, uid } = environment
  const xdg = env['XDG_DATA_HOME'] ?? ''
  const home = isAbsolute(xdg) ? xdg : join(env['HOME'] ?? '/', '.local/share')
  const named = env['OCIMOUNT_DATA_DIR'] ?? ''
  const data =
    named !== '' ? resolve(named) : uid === 0 ? '/var/lib/ocimount' : join(home, 'ocimount')
  const path = join(data, 'containers')
  try {
    // Root of a container with ids of its own comes through here to its bundle, as another user of this machine.
    await mkdir(path, { mode: uid === 0 ? 0o711 : MODE, recursive: true })
    await checkTrust(path, uid, 0o066)
    return path
  } catch (error) {
    if (error instanceof OcimountError) throw error
    throw new OcimountError(
      'STORAGE_FAILED',
      `Cannot keep containers in ${escapeText(path)}: ${escapeText(messageOf(error))}`,
      { cause: error },
    )
  }
}

async function makeDirectory(path: string): Promise<void> {
  try {
    // Not recursive except for a directory that was asked for: /tmp and /run exist.
    await mkdir(path, { mode: MODE })
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw error
  }
}

async function checkTrust(path: string, uid: number, forbidden = 0o077): Promise<void> {
  const stats = await lstat(path)
  if (stats.isSymbolicLink()) throw distrusted(path, 'it is a symbolic link')
  if (!stats.isDirectory()) throw distrusted(path, 'it is not a directory')
  if (stats.uid !== uid) throw distrusted(path, `it belongs to user ${stats.uid}`)
  if ((stats.mode & forbidden) !== 0) {
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0')
    throw distrusted(path, `others may enter it (its mode is ${mode}); chmod 700 helps`)
  }
}

function distrusted(path: string, why: string): OcimountError {
  return new OcimountError(
    'STORAGE_FAILED',
    `Cannot keep the state of mounts in ${escapeText(path)}: ${why}`,
  )
}

function currentEnvironment(): RuntimeEnvironment {
  return { env: process.env, uid: process.geteuid?.() ?? 0 }
}
