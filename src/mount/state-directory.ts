// The directories in which the state of live mounts is, each with a record that is replaced as a whole on every change.

import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError, systemErrorCode } from '../errors.js'
import { openRuntimeDir } from './runtime-dir.js'

/** Larger than any record; a file in our own directory should not be, but reading is bounded all the same. */
const MAX_RECORD_BYTES = 1 << 20

/**
 * Makes the directory of an id, with its record, and gives its path.
 *
 * @throws OcimountError `STORAGE_FAILED`
 */
export async function createStateDirectory(
  id: string,
  name: string,
  record: unknown,
): Promise<string> {
  const runtimeDir = await openRuntimeDir()
  // Complete before it has its name: whoever cleans up never sees a directory without a record.
  const fresh = join(runtimeDir, `.new-${id}`)
  const directory = join(runtimeDir, id)
  try {
    await mkdir(fresh, { mode: 0o700 })
    await writeFile(join(fresh, name), encode(record), { mode: 0o600 })
    await rename(fresh, directory)
  } catch (error) {
    await rm(fresh, { recursive: true, force: true })
    throw failed(directory, error)
  }
  return directory
}

/** Replaces a record. */
export async function writeRecord(directory: string, name: string, record: unknown): Promise<void> {
  const path = join(directory, name)
  try {
    await writeFile(`${path}.new`, encode(record), { mode: 0o600 })
    await rename(`${path}.new`, path)
  } catch (error) {
    throw failed(directory, error)
  }
}

/** Gives what is in a record; undefined where there is none, or no JSON in it. */
export async function readRecordFile(directory: string, name: string): Promise<unknown> {
  let bytes: Buffer
  try {
    bytes = await readFile(join(directory, name))
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw failed(directory, error)
  }
  if (bytes.length > MAX_RECORD_BYTES) return undefined
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function encode(record: unknown): string {
  return `${JSON.stringify(record, null, 2)}\n`
}

function failed(directory: string, cause: unknown): OcimountError {
  const why = escapeText(messageOf(cause))
  return new OcimountError(
    'STORAGE_FAILED',
    `Cannot keep the state of a mount in ${escapeText(directory)}: ${why}`,
    { cause },
  )
}
