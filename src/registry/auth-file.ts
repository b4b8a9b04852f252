// The file format of `podman login` and `docker login`: what it says about one registry. No I/O.

/** What is shown to a registry or to the server that gives out its tokens. */
export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** To be exchanged for a token of the registry. */
  | { readonly kind: 'identity'; readonly token: string }
  /** Shown to the registry as it is. */
  | { readonly kind: 'bearer'; readonly token: string }

/** A program that knows. */
export interface HelperName {
  readonly kind: 'helper'
  readonly name: string
}

type Fields = Readonly<Record<string, unknown>>

export interface AuthFile {
  readonly auths: Fields
  readonly credHelpers: Fields
  readonly credsStore: string | undefined
}

/** Parses the text of such a file; undefined when it is none. */
export function parseAuthFile(text: string): AuthFile | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const fields = fieldsOf(value)
  if (fields === undefined) return undefined
  const auths = fieldsOf(fields['auths'])
  const credHelpers = fieldsOf(fields['credHelpers']) ?? {}
  const store = fields['credsStore']
  const credsStore = typeof store === 'string' && store !== '' ? store : undefined
  // ~/.dockercfg is the inner object alone.
  const isBare =
    auths === undefined && Object.values(fields).some((entry) => fieldsOf(entry)?.['auth'])
  return { auths: auths ?? (isBare ? fields : {}), credHelpers, credsStore }
}

/**
 * Finds what a file says about a registry: a helper for it alone, the entry of the longest path, an entry in one of the
 * older spellings, the helper for all.
 */
export function findInAuthFile(
  file: AuthFile,
  host: string,
  repository: string,
): Credentials | HelperName | undefined {
  const helper = own(file.credHelpers, host)
  if (typeof helper === 'string' && helper !== '') return { kind: 'helper', name: helper }
  for (const key of keysOf(host, repository)) {
    const found = credentialsOf(own(file.auths, key))
    if (found !== undefined) return found
  }
  const wanted = canonicalHost(host)
  for (const [key, entry] of Object.entries(file.auths)) {
    if (canonicalHost(key) !== wanted) continue
    const found = credentialsOf(entry)
    if (found !== undefined) return found
  }
  return file.credsStore === undefined ? undefined : { kind: 'helper', name: file.credsStore }
}

/** `host/a/b`, `host/a`, `host`. */
function* keysOf(host: string, repository: string): Iterable<string> {
  let key = `${host}/${repository}`
  for (;;) {
    yield key
    const slash = key.lastIndexOf('/')
    if (slash < 0) return
    key = key.slice(0, slash)
  }
}

/** `https://index.docker.io/v1/` is docker.io; a path that is no version of the protocol makes a key of its own. */
function canonicalHost(key: string): string {
  const bare = key.replace(/^https?:\/\//i, '').replace(/\/(?:v[12]\/?)?$/, '')
  return HUB_NAMES.has(bare) ? 'docker.io' : bare
}

function credentialsOf(value: unknown): Credentials | undefined {
  const entry = fieldsOf(value)
  if (entry === undefined) return undefined
  const identity = entry['identitytoken']
  if (typeof identity === 'string' && identity !== '') return { kind: 'identity', token: identity }
  const registry = entry['registrytoken']
  if (typeof registry === 'string' && registry !== '') return { kind: 'bearer', token: registry }
  const auth = entry['auth']
  if (typeof auth === 'string' && auth !== '') {
    const pair = Buffer.from(auth, 'base64').toString('utf8')
    const colon = pair.indexOf(':')
    if (colon <= 0) return undefined
    const password = pair.slice(colon + 1).replace(/\0+$/, '')
    return { kind: 'password', username: pair.slice(0, colon), password }
  }
  const { username, password } = entry
  return typeof username === 'string' && typeof password === 'string' && username !== ''
    ? { kind: 'password', username, password }
    : undefined
}

function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : undefined
}

function own(fields: Fields, key: string): unknown {
  return Object.hasOwn(fields, key) ? fields[key] : undefined
}

const HUB_NAMES: ReadonlySet<string> = new Set([
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
])
