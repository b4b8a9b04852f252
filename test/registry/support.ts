// What the tests of this room share: a client that looks at nothing of this machine, and gives up soon.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { RegistryClient, type RegistryOptions } from '../../src/registry/client.js'
import { parseDigest, type Digest } from '../../src/image/digest.js'
import { sha256 } from '../helpers/build-image.js'

/** Nothing of the user's own. */
export const EMPTY_ENV: NodeJS.ProcessEnv = { PATH: process.env['PATH'], HOME: '/nonexistent' }

export const NO_MIRRORS = {
  registriesConf: [],
  registriesConfDirectories: [],
  hostsDirectories: [],
} as const

export const QUICK = { attempts: 4, firstMs: 5, longestMs: 20, longestWaitMs: 3000 } as const

/** Makes a client for `HOST/REPOSITORY` that is closed with the test. */
export function client(t: Test, name: string, options: RegistryOptions = {}): RegistryClient {
  const slash = name.indexOf('/')
  const made = new RegistryClient(
    { domain: name.slice(0, slash), repository: name.slice(slash + 1) },
    {
      env: EMPTY_ENV,
      mirrorFiles: NO_MIRRORS,
      retries: QUICK,
      timeouts: { connectMs: 1000, headersMs: 500, idleMs: 300 },
      ...options,
    },
  )
  t.teardown(() => made.close())
  return made
}

/** Reads a blob to its end. */
export async function readAll(
  from: RegistryClient,
  blob: Buffer,
  options: { size?: number; offset?: number; end?: number; urls?: readonly string[] } = {},
): Promise<Buffer> {
  const { size = blob.length, offset = 0, end, urls } = options
  const descriptor = { digest: digestOf(blob), size, ...(urls === undefined ? {} : { urls }) }
  const chunks: Buffer[] = []
  for await (const chunk of from.readBlob(descriptor, {
    offset,
    ...(end === undefined ? {} : { end }),
  }))
    chunks.push(chunk)
  return Buffer.concat(chunks)
}

export function digestOf(blob: Buffer): Digest {
  return parseDigest(sha256(blob))
}

/** Makes a directory with the given files, which goes with the test. */
export function directoryOf(t: Test, files: Readonly<Record<string, string>> = {}): string {
  const directory = mkdtempSync(join(tmpdir(), 'ocimount-test-'))
  t.teardown(() => {
    rmSync(directory, { recursive: true, force: true })
  })
  for (const [name, text] of Object.entries(files)) {
    const path = join(directory, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
  return directory
}
