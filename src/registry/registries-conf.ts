// containers-registries.conf(5), version 2 (checklist E-096): where a name leads, and which mirrors go before that.

import { escapeText } from '../byte-string.js'
import { apiHost, originEndpoint, type Endpoint } from './endpoint.js'
import { RegistryError } from './registry-error.js'
import { filesIn, readToml, type ConfigTable } from './config-file.js'

/** Where the files are. */
export interface RegistriesConfFiles {
  /** Main files, of which the first that exists counts. */
  readonly registriesConf: readonly string[]
  /** Directories of drop-ins; what is in later ones goes before what is in earlier ones. */
  readonly registriesConfDirectories: readonly string[]
}

interface Mirror {
  readonly location: string
  readonly isInsecure: boolean
  readonly pulls: 'all' | 'digest-only' | 'tag-only'
}

interface Rule {
  readonly prefix: string
  /** Empty: the name stays what it is. */
  readonly location: string
  readonly isInsecure: boolean
  readonly isBlocked: boolean
  readonly mirrors: readonly Mirror[]
  readonly path: string
}

/**
 * Gives the servers for a name, or undefined when no rule is about it.
 *
 * @throws RegistryError `REGISTRY_DENIED` for a name that is blocked, and for files that make no sense
 */
export async function loadRegistriesConf(
  name: { readonly domain: string; readonly repository: string },
  files: RegistriesConfFiles,
  { isInsecure }: { readonly isInsecure: boolean },
): Promise<readonly Endpoint[] | undefined> {
  const full = `${name.domain}/${name.repository}`
  const rule = longestMatch(await loadRules(files), full)
  if (rule === undefined) return undefined
  if (rule.isBlocked) {
    throw new RegistryError(
      'REGISTRY_DENIED',
      `Cannot pull ${escapeText(full)}: ${escapeText(rule.prefix)} is blocked in ${escapeText(rule.path)}`,
    )
  }
  const origin =
    rule.location === ''
      ? originEndpoint(name, { isInsecure: isInsecure || rule.isInsecure })
      : endpointAt(rewrite(full, rule.prefix, rule.location), isInsecure || rule.isInsecure)
  const mirrors = rule.mirrors.map((mirror) => ({
    ...endpointAt(rewrite(full, rule.prefix, mirror.location), mirror.isInsecure),
    canResolveTags: mirror.pulls !== 'digest-only',
    canPullDigests: mirror.pulls !== 'tag-only',
  }))
  return [...mirrors, origin]
}

/** Tells how many characters of a name a prefix covers; 0 when it is about other names. */
export function matchedLength(full: string, prefix: string): number {
  if (prefix.startsWith('*.')) {
    const slash = full.indexOf('/')
    const rest = prefix.slice(1)
    const at = full.indexOf(rest)
    if (at <= 0 || at > slash) return 0
    const end = at + rest.length
    return end === full.length || '/:@'.includes(full.charAt(end)) ? end : 0
  }
  if (prefix === '' || !full.startsWith(prefix)) return 0
  const isWhole = full.length === prefix.length || '/:@'.includes(full.charAt(prefix.length))
  return isWhole ? prefix.length : 0
}

function longestMatch(rules: readonly Rule[], full: string): Rule | undefined {
  let best: Rule | undefined
  for (const rule of rules) {
    if (matchedLength(full, rule.prefix) === 0) continue
    if (best === undefined || rule.prefix.length > best.prefix.length) best = rule
  }
  return best
}

function rewrite(full: string, prefix: string, location: string): string {
  return location + full.slice(matchedLength(full, prefix))
}

function endpointAt(place: string, isInsecure: boolean): Endpoint {
  const slash = place.indexOf('/')
  const domain = place.slice(0, slash)
  const endpoint = originEndpoint({ domain, repository: place.slice(slash + 1) }, { isInsecure })
  return { ...endpoint, host: apiHost(domain) }
}

async function loadRules(files: RegistriesConfFiles): Promise<Rule[]> {
  const tables: ConfigTable[] = []
  for (const path of files.registriesConf) {
    const table = await readToml(path)
    if (table === undefined) continue
    tables.push(table)
    break
  }
  for (const directory of files.registriesConfDirectories) {
    for (const path of await filesIn(directory, '.conf')) {
      const table = await readToml(path)
      if (table !== undefined) tables.push(table)
    }
  }
  // What a later file says about a prefix stands in for what an earlier one does.
  const rules = new Map<string, Rule>()
  for (const table of tables) {
    for (const entry of table.tables('registry')) {
      const rule = readRule(entry)
      rules.set(rule.prefix, rule)
    }
  }
  return [...rules.values()]
}

function readRule(entry: ConfigTable): Rule {
  const given = trimmed(entry.string('prefix') ?? '')
  const location = trimmed(entry.string('location') ?? '')
  const prefix = given === '' ? location : given
  if (prefix === '') throw entry.wrong('prefix', 'it is missing, and so is the location')
  const isDigestOnly = entry.boolean('mirror-by-digest-only')
  return {
    prefix,
    location: location === '' && !prefix.startsWith('*.') ? prefix : location,
    isInsecure: entry.boolean('insecure'),
    isBlocked: entry.boolean('blocked'),
    mirrors: entry.tables('mirror').map((mirror) => readMirror(mirror, isDigestOnly)),
    path: entry.path,
  }
}

function readMirror(mirror: ConfigTable, isDigestOnly: boolean): Mirror {
  const location = trimmed(mirror.string('location') ?? '')
  if (location === '') throw mirror.wrong('location', 'it is missing')
  const pulls = mirror.string('pull-from-mirror') ?? 'all'
  if (pulls !== 'all' && pulls !== 'digest-only' && pulls !== 'tag-only') {
    throw mirror.wrong('pull-from-mirror', 'it is none of all, digest-only and tag-only')
  }
  const isInsecure = mirror.boolean('insecure')
  return { location, isInsecure, pulls: isDigestOnly ? 'digest-only' : pulls }
}

function trimmed(text: string): string {
  return text.replace(/\/+$/, '')
}
