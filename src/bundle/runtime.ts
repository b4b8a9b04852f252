// The program that starts containers.

import { constants } from 'node:fs'
import { access, readFile, stat } from 'node:fs/promises'
import { delimiter, join, resolve } from 'node:path'
import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'

/** Those that are looked for, best first: crun starts in a fraction of the time. */
const RUNTIMES: readonly string[] = ['crun', 'runc']
/** Where the controllers are listed that a machine of cgroups v1 has given to v2 all the same. */
const HYBRID_CONTROLLERS = '/sys/fs/cgroup/unified/cgroup.controllers'
// mount.fuse3, systemd and cron run us with a bare environment, and runc is in sbin.
const MORE_PLACES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/**
 * Finds the runtime: the one that is named, by a path or a name, else the first that is there.
 *
 * @throws OcimountError `RUNTIME_FAILED`
 */
export async function findRuntime(named: string | undefined): Promise<string> {
  const names = named === undefined ? await runtimesHere() : [named]
  for (const name of names) {
    const path = name.includes('/') ? resolve(name) : await findProgram(name)
    if (path !== undefined && (await isExecutable(path))) return path
  }
  const what = named === undefined ? 'neither crun nor runc is' : `${escapeText(named)} is not`
  throw new OcimountError(
    'RUNTIME_FAILED',
    `Cannot start a container: ${what} installed; install one, or name another with --runtime`,
  )
}

/** crun refuses a machine on which both versions of cgroups have controllers. */
async function runtimesHere(): Promise<readonly string[]> {
  const controllers = await readFile(HYBRID_CONTROLLERS, 'latin1').catch(() => '')
  return controllers.trim() === '' ? RUNTIMES : RUNTIMES.toReversed()
}

/** Finds a program by its name; undefined where it is not there. */
export async function findProgram(name: string): Promise<string | undefined> {
  const places = [...(process.env['PATH'] ?? '').split(delimiter), ...MORE_PLACES]
  for (const place of places.filter((one) => one.startsWith('/'))) {
    const path = join(place, name)
    if (await isExecutable(path)) return path
  }
  return undefined
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}
