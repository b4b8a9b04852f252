// Mounts as people ask for them: --mount in Docker's form of keys and values, --volume in its short form.

import { OcimountError } from '../errors.js'
import { quote } from '../image/quote.js'
import { cleanContainerPath, isAtOrBelow } from './container-path.js'
import { refusedValue } from './origin.js'
import type { RuntimeMount } from './runtime-config.js'

/**
 * Parses `type=bind,src=PATH,dst=PATH[,ro][,bind-propagation=…][,bind-nonrecursive]` or
 * `type=tmpfs,dst=PATH[,tmpfs-size=…][,tmpfs-mode=…][,ro]`. A value with a comma stands between double quotes, key included.
 *
 * The source of a bind mount is as given; whoever knows the working directory makes it absolute
 * (locateMounts() in host-facts.ts).
 *
 * @throws OcimountError `USAGE`
 */
export function parseMount(text: string): RuntimeMount {
  const fields = new Map<string, string>()
  for (const field of splitFields(text)) {
    const [key = '', ...rest] = field.split('=')
    const name = KEY_ALIASES.get(key.toLowerCase()) ?? key.toLowerCase()
    if (fields.has(name)) throw invalidMount(text, `it has ${name} twice`)
    fields.set(name, rest.length === 0 ? 'true' : rest.join('='))
  }
  const take = (name: string): string | undefined => {
    const value = fields.get(name)
    fields.delete(name)
    return value
  }
  const type = take('type') ?? 'bind'
  const destination = mountDestination(take('dst') ?? '')
  const access = isTrue(text, take('readonly')) ? 'ro' : 'rw'
  let mount: RuntimeMount
  if (type === 'bind') {
    const source = take('src') ?? ''
    if (source === '') throw invalidMount(text, 'it has no source')
    const bind = isTrue(text, take('bind-nonrecursive')) ? 'bind' : 'rbind'
    const propagation = take('bind-propagation') ?? 'rprivate'
    if (!PROPAGATIONS.includes(propagation)) {
      throw invalidMount(text, `there is no propagation ${quote(propagation)}`)
    }
    mount = { destination, type: 'bind', source, options: [bind, propagation, access] }
  } else if (type === 'tmpfs') {
    const size = take('tmpfs-size')
    const mode = take('tmpfs-mode') ?? '1777'
    if (!/^[0-7]{1,4}$/.test(mode)) throw invalidMount(text, `${quote(mode)} is no mode`)
    mount = {
      ...{ destination, type: 'tmpfs', source: 'tmpfs' },
      options: [
        ...['nosuid', 'nodev', access, `mode=${mode}`],
        ...(size === undefined ? [] : [`size=${parseSize(size)}`]),
      ],
    }
  } else {
    throw invalidMount(text, `there is no type ${quote(type)}, only bind and tmpfs`)
  }
  const [unknown] = fields.keys()
  if (unknown !== undefined) throw invalidMount(text, `there is no key ${quote(unknown)}`)
  return mount
}

/**
 * Parses `SOURCE:DESTINATION[:OPTION,…]`, a bind mount.
 *
 * @throws OcimountError `USAGE`
 */
export function parseVolume(text: string): RuntimeMount {
  const [source = '', target = '', list = '', ...rest] = text.split(':')
  if (source === '' || target === '' || rest.length > 0) {
    throw invalidMount(text, 'it is not of the form SOURCE:DESTINATION[:OPTIONS]')
  }
  const asked = list === '' ? [] : list.split(',')
  const unknown = asked.find((option) => !VOLUME_OPTIONS.includes(option))
  if (unknown !== undefined) throw invalidMount(text, `there is no option ${quote(unknown)}`)
  const one = (among: readonly string[], standard: string): string =>
    asked.find((option) => among.includes(option)) ?? standard
  const fixed = [one(BINDS, 'rbind'), one(PROPAGATIONS, 'rprivate'), one(ACCESSES, 'rw')]
  const others = asked.filter((option) => FLAGS.includes(option))
  return {
    destination: mountDestination(target),
    type: 'bind',
    source,
    options: [...fixed, ...new Set(others)],
  }
}

/**
 * Parses a number of bytes with `b`, `k`, `m`, `g` or `t` behind it, powers of 1024.
 *
 * @throws OcimountError `USAGE`
 */
export function parseSize(text: string): number {
  const match = /^([0-9]+(?:\.[0-9]+)?)([bkmgt]?)(?:i?b)?$/i.exec(text)
  const unit = 'bkmgt'.indexOf((match?.[2] ?? '').toLowerCase() || 'b')
  const bytes = Math.floor(Number(match?.[1]) * 1024 ** unit)
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes
  throw new OcimountError(
    'USAGE',
    `Cannot use size ${quote(text)}: it is not a number such as 512m`,
  )
}

const KEY_ALIASES: ReadonlyMap<string, string> = new Map([
  ['source', 'src'],
  ['destination', 'dst'],
  ['target', 'dst'],
  ['ro', 'readonly'],
])
const BINDS = ['bind', 'rbind']
const ACCESSES = ['ro', 'rw']
const PROPAGATIONS = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave']
const FLAGS = ['suid', 'nosuid', 'dev', 'nodev', 'exec', 'noexec']
const VOLUME_OPTIONS = [...BINDS, ...ACCESSES, ...PROPAGATIONS, ...FLAGS]

function mountDestination(text: string): string {
  const path = cleanContainerPath(text, 'option', 'mount destination')
  const subject = `mount destination ${quote(text)}`
  if (path === '/') throw refusedValue('option', subject, 'it is the root')
  if (isAtOrBelow(path, '/proc')) throw refusedValue('option', subject, 'it is in /proc')
  return path
}

/** Splits at commas outside of double quotes, which are doubled inside of themselves (RFC 4180). */
function splitFields(text: string): string[] {
  const fields: string[] = []
  let at = 0
  for (;;) {
    const rest = text.slice(at)
    const match = /^"((?:[^"]|"")*)"(?=,|$)/.exec(rest) ?? /^([^",]*)(?=,|$)/.exec(rest)
    if (match === null) throw invalidMount(text, 'its quotes do not match')
    fields.push((match[1] ?? '').replaceAll('""', '"'))
    at += match[0].length + 1
    if (at > text.length) return fields
  }
}

function isTrue(text: string, value: string | undefined): boolean {
  switch (value) {
    case undefined:
    case 'false':
    case '0':
      return false
    case 'true':
    case '1':
      return true
    default:
      throw invalidMount(text, `${quote(value)} is neither true nor false`)
  }
}

function invalidMount(text: string, why: string): OcimountError {
  return new OcimountError('USAGE', `Cannot use mount ${quote(text)}: ${why}`)
}
