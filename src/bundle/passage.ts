// The way to a bundle. A runtime walks it as root of the container, whom the machine knows as another user where the container has
// ids of its own.

import { constants } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { escapeText } from '../byte-string.js'
import { hostIdOf } from '../mount/id-maps.js'
import type { RuntimeConfig } from './runtime-config.js'

/** Lets root of the container through a directory that is root's, and nobody else. */
export async function letThrough(directory: string, config: RuntimeConfig): Promise<void> {
  const root = containerRoot(config)
  // Others can give nothing away, and what they make is theirs in their containers too.
  if (root === undefined || process.geteuid?.() !== 0) return
  // Where others may write, the name could come to stand for something else.
  const handle = await open(directory, constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    await handle.chown(0, root.gid)
    await handle.chmod(0o710)
  } finally {
    await handle.close()
  }
}

/** Warns of each directory above a bundle that root of the container may not pass, going by its mode. */
export async function warnOfBarriers(place: string, config: RuntimeConfig): Promise<string[]> {
  const root = containerRoot(config)
  const warnings: string[] = []
  if (root === undefined) return warnings
  for (let path = dirname(place); ; path = dirname(path)) {
    const { mode, uid, gid } = await stat(path)
    const needed = uid === root.uid ? 0o100 : gid === root.gid ? 0o010 : 0o001
    if ((mode & needed) === 0) {
      warnings.push(
        `root of the container, user ${root.uid} here, may not pass ${escapeText(path)}, which runc needs; chmod o+x lets it`,
      )
    }
    if (path === dirname(path)) return warnings
  }
}

function containerRoot({
  linux: { uidMappings, gidMappings },
}: RuntimeConfig): { readonly uid: number; readonly gid: number } | undefined {
  const uid = uidMappings && hostIdOf(0, uidMappings)
  const gid = gidMappings && hostIdOf(0, gidMappings)
  return uid === undefined || gid === undefined ? undefined : { uid, gid }
}
