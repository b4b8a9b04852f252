// Where names and passwords come from (checklist E-078 to E-082), in the order of containers-auth.json(5). What is found is
// held in memory for as long as a client lives, and shows up in no error, log or file.

import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { escapeText } from '../byte-string.js'
import { systemErrorCode } from '../errors.js'
import { findInAuthFile, parseAuthFile, type AuthFile, type Credentials } from './auth-file.js'
import { askHelper } from './credential-helper.js'
import { RegistryError } from './registry-error.js'

export interface CredentialOptions {
  /** What the user named; it alone is looked into then. */
  readonly authFile?: string | undefined
  readonly env: NodeJS.ProcessEnv
}

/**
 * Finds what to show to a registry.
 *
 * The first file that knows something about the registry decides; files that are not there are passed over, except for
 * one that the user named.
 *
 * @param host as the user writes it: `docker.io`, `registry.example.com:5000`
 * @throws RegistryError `REGISTRY_DENIED` for a file that cannot be read or a helper that fails
 */
export async function findCredentials(
  host: string,
  repository: string,
  options: CredentialOptions,
): Promise<Credentials | undefined> {
  for (const { path, isNamed } of candidates(options)) {
    const file = await load(path, isNamed)
    if (file === undefined) continue
    const found = findInAuthFile(file, host, repository)
    if (found?.kind === 'helper') {
      const credentials = await askHelper(found.name, serverUrls(host), options.env)
      if (credentials !== undefined) return credentials
    } else if (found !== undefined) return found
  }
  return undefined
}

function* candidates({ authFile, env }: CredentialOptions): Iterable<{
  path: string
  isNamed: boolean
}> {
  const named = authFile ?? env['REGISTRY_AUTH_FILE']
  if (named !== undefined && named !== '') {
    yield { path: named, isNamed: true }
    return
  }
  const home = env['HOME'] ?? homedir()
  const runtime = env['XDG_RUNTIME_DIR']
  const uid = process.getuid?.() ?? 0
  const config = env['XDG_CONFIG_HOME'] ?? join(home, '.config')
  const docker = env['DOCKER_CONFIG'] ?? join(home, '.docker')
  const paths = [
    runtime === undefined || runtime === ''
      ? `/run/containers/${uid}/auth.json`
      : join(runtime, 'containers/auth.json'),
    join(config, 'containers/auth.json'),
    join(docker, 'config.json'),
    join(home, '.dockercfg'),
  ]
  for (const path of paths) yield { path, isNamed: false }
}

async function load(path: string, isNamed: boolean): Promise<AuthFile | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    const code = systemErrorCode(error)
    if (!isNamed && (code === 'ENOENT' || code === 'ENOTDIR')) return undefined
    throw unusable(
      path,
      code === 'ENOENT' ? 'there is no such file' : (code ?? 'it cannot be read'),
    )
  }
  const file = parseAuthFile(text)
  // What a parser says about it would quote it.
  if (file === undefined) throw unusable(path, 'it is not JSON of that kind')
  return file
}

function unusable(path: string, why: string): RegistryError {
  const message = `Cannot read credentials from ${escapeText(path)}: ${why}`
  return new RegistryError('REGISTRY_DENIED', message)
}

/** What helpers know a registry by; Docker Hub has a name of its own there. */
function serverUrls(host: string): string[] {
  return host === 'docker.io' ? ['https://index.docker.io/v1/', host] : [host]
}
