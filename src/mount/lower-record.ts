// What is known of a lower: a mounted image on which mounts stack, and the process that serves it. See lower.ts.
//
//   <runtime dir>/<id>/lower.json     what follows
//                      lower/         where it is mounted
//                      control.sock   takes `attach`
//                      log

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { judgeOwner } from '../cache/process-owner.js'
import { existingRuntimeDirs } from './runtime-dir.js'
import { readRecordFile } from './state-directory.js'

export const LOWER_RECORD = 'lower.json'
const ID = /^[0-9a-f]{12}$/

/** A bundle that is being made: where, and which directory is to get that name. */
export interface UnfinishedBundle {
  readonly directory: string
  /** Its first name, which is nobody else's. */
  readonly fresh: string
  /** Its inode, once it exists; another one at `directory` is not ours. */
  readonly inode?: string | undefined
}

/** JSON-safe. */
export interface LowerRecord {
  readonly version: 1
  readonly id: string
  /** What two mounts must have in common to share it; undefined while it is not usable. */
  readonly key?: string
  /** Goes with a process that dies before it is mounted. */
  readonly bundle?: UnfinishedBundle
  readonly pid: number
  /** See cache/process-owner.ts. */
  readonly owner: string
}

/** Gives where a lower is mounted. */
export function lowerPath(directory: string): string {
  return join(directory, 'lower')
}

/** Reads the record in a state directory; undefined where it is none of a lower. */
export async function readLowerRecord(directory: string): Promise<LowerRecord | undefined> {
  const value = await readRecordFile(directory, LOWER_RECORD)
  if (typeof value !== 'object' || value === null) return undefined
  const { version, id, owner } = value as Record<string, unknown>
  if (version !== 1 || typeof id !== 'string' || typeof owner !== 'string') return undefined
  return value as LowerRecord
}

/** Gives the state directories of live lowers with a key. */
export async function findLowers(key: string): Promise<string[]> {
  const found: string[] = []
  for (const runtimeDir of await existingRuntimeDirs()) {
    for (const name of await readdir(runtimeDir)) {
      const directory = join(runtimeDir, name)
      const record = ID.test(name) ? await readLowerRecord(directory) : undefined
      if (record?.key === key && judgeOwner(record.owner) === 'alive') found.push(directory)
    }
  }
  return found
}
