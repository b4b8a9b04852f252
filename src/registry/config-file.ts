// Configuration in TOML or JSON: read, parsed, and looked at field by field. The only importer of smol-toml.

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'smol-toml'
import { escapeText } from '../byte-string.js'
import { messageOf, systemErrorCode } from '../errors.js'
import { RegistryError } from './registry-error.js'

/** One table of a file, whose fields have to be what they should be. */
export class ConfigTable {
  readonly path: string
  readonly #where: string
  readonly #fields: Readonly<Record<string, unknown>>

  constructor(path: string, where: string, fields: Readonly<Record<string, unknown>>) {
    this.path = path
    this.#where = where
    this.#fields = fields
  }

  string(name: string): string | undefined {
    const value = this.#get(name)
    if (value === undefined || typeof value === 'string') return value
    throw this.wrong(name, 'it is not a string')
  }

  boolean(name: string): boolean {
    const value = this.#get(name) ?? false
    if (typeof value === 'boolean') return value
    throw this.wrong(name, 'it is neither true nor false')
  }

  /** One string, or a list of strings and lists; flat. */
  strings(name: string): string[] | undefined {
    const value = this.#get(name)
    if (value === undefined) return undefined
    const list = (Array.isArray(value) ? value : [value]).flat()
    if (list.every((item) => typeof item === 'string')) return list
    throw this.wrong(name, 'it is not a list of strings')
  }

  /** A list of tables. */
  tables(name: string): ConfigTable[] {
    const value = this.#get(name) ?? []
    if (!Array.isArray(value)) throw this.wrong(name, 'it is not a list of tables')
    return value.map((item, index) => this.#table(`${name}[${index}]`, item))
  }

  /** The tables in a table, in the order of the file. */
  named(name: string): [string, ConfigTable][] {
    const value = this.#get(name)
    if (value === undefined) return []
    const fields = this.#table(name, value).#fields
    return Object.entries(fields).map(([key, item]) => [key, this.#table(`${name}.${key}`, item)])
  }

  /** A table of strings. */
  map(name: string): Record<string, string> {
    const value = this.#get(name)
    if (value === undefined) return {}
    const table = this.#table(name, value)
    return Object.fromEntries(
      Object.keys(table.#fields).map((key) => [key, (table.strings(key) ?? []).join(', ')]),
    )
  }

  wrong(name: string, why: string): RegistryError {
    const field = escapeText(this.#where === '' ? name : `${this.#where}.${name}`)
    return unusable(this.path, `${field}: ${why}`)
  }

  /** What JSON says is null is not there. */
  #get(name: string): unknown {
    return Object.hasOwn(this.#fields, name) ? (this.#fields[name] ?? undefined) : undefined
  }

  #table(name: string, value: unknown): ConfigTable {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.wrong(name, 'it is not a table')
    }
    const where = this.#where === '' ? name : `${this.#where}.${name}`
    return new ConfigTable(this.path, where, value as Readonly<Record<string, unknown>>)
  }
}

/**
 * Reads a file of TOML; undefined when it is not there.
 *
 * @throws RegistryError `REGISTRY_DENIED`
 */
export function readToml(path: string): Promise<ConfigTable | undefined> {
  return readTable(path, parse, ABSENT)
}

/**
 * Reads a file of JSON that another program keeps; undefined when it is not there, or not for us to see.
 *
 * @throws RegistryError `REGISTRY_DENIED`
 */
export function readJson(path: string): Promise<ConfigTable | undefined> {
  return readTable(path, parseJson, HIDDEN)
}

/** As Docker reads it: an empty file says nothing, and a byte order mark in front is no part of it. */
function parseJson(text: string): unknown {
  const json = text.replace(/^\uFEFF/, '')
  return json.trim() === '' ? {} : JSON.parse(json)
}

async function readTable(
  path: string,
  parseText: (text: string) => unknown,
  absent: ReadonlySet<string | undefined>,
): Promise<ConfigTable | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    const code = systemErrorCode(error)
    if (absent.has(code)) return undefined
    throw unusable(path, code ?? messageOf(error))
  }
  let fields: unknown
  try {
    fields = parseText(text)
  } catch (error) {
    throw unusable(path, escapeText(messageOf(error).split('\n', 1)[0] ?? ''))
  }
  if (typeof fields === 'object' && fields !== null && !Array.isArray(fields)) {
    return new ConfigTable(path, '', fields as Readonly<Record<string, unknown>>)
  }
  throw unusable(path, 'it is not a table')
}

/** Gives the paths of the files in a directory with the given ending, in order; none when it is not there. */
export async function filesIn(directory: string, ending: string): Promise<string[]> {
  try {
    const names = await readdir(directory)
    return names
      .filter((name) => name.endsWith(ending))
      .sort()
      .map((name) => join(directory, name))
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    throw unusable(directory, code ?? messageOf(error))
  }
}

function unusable(path: string, why: string): RegistryError {
  return new RegistryError(
    'REGISTRY_DENIED',
    `Cannot use the configuration ${escapeText(path)}: ${why}`,
  )
}

const ABSENT: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR'])
const HIDDEN: ReadonlySet<string | undefined> = new Set([...ABSENT, 'EACCES', 'EPERM'])
