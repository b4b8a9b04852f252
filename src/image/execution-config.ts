// The `config` object of an image config: the defaults with which a container of the image starts
// (image-spec config.md "Properties"). Its fields keep the names that Dockerfiles have made known.

import { asString, FieldReader, locationOf, type Tolerate } from './field-reader.js'
import type { JsonObject } from './json.js'
import { quote } from './quote.js'

/** What is absent, `null` or an empty string is left out; a list or map is then empty. */
export interface ExecutionConfig {
  readonly User?: string
  /** Each `NAME=value`; entries of another form are dropped with a warning. */
  readonly Env: readonly string[]
  readonly Entrypoint: readonly string[]
  readonly Cmd: readonly string[]
  readonly WorkingDir?: string
  /** Paths, in the order of the document. */
  readonly Volumes: readonly string[]
  /** `port`, `port/tcp`, `port/udp`, and what else Docker allows. */
  readonly ExposedPorts: readonly string[]
  readonly Labels: ReadonlyMap<string, string>
  /** A signal's name or number. */
  readonly StopSignal?: string
}

/**
 * Reads the object under `config`; none at all gives the empty defaults.
 *
 * @throws OcimountError `IMAGE_INVALID` naming the field
 */
export function readExecutionConfig(parent: FieldReader, tolerate: Tolerate): ExecutionConfig {
  const location = parent.at('config')
  const fields = new FieldReader(parent.get('config') ?? NOTHING, location, EXECUTION_FIELDS)
  return {
    ...fields.property('User', 'User'),
    Env: readEnv(fields, tolerate),
    Entrypoint: readCommand(fields, 'Entrypoint', tolerate),
    Cmd: readCommand(fields, 'Cmd', tolerate),
    ...fields.property('WorkingDir', 'WorkingDir'),
    Volumes: readSet(fields, 'Volumes', tolerate),
    ExposedPorts: readSet(fields, 'ExposedPorts', tolerate),
    Labels: readLabels(fields, tolerate),
    ...fields.property('StopSignal', 'StopSignal'),
  }
}

function readEnv(fields: FieldReader, tolerate: Tolerate): string[] {
  const location = fields.at('Env')
  return fields.strings('Env').filter((entry, index) => {
    if (ENV_ENTRY.test(entry)) return true
    tolerate(locationOf(location, index), `is ${quote(entry)}, which is not of the form NAME=value`)
    return false
  })
}

/** Reads an argument list; Docker takes a lone string for a list of one. */
function readCommand(fields: FieldReader, name: string, tolerate: Tolerate): string[] {
  const value = fields.get(name)
  if (typeof value !== 'string') return fields.strings(name)
  tolerate(fields.at(name), 'is a string, not an array')
  return value === '' ? [] : [value]
}

/** Reads a Go set: an object whose keys alone count (checklist A-132). */
function readSet(fields: FieldReader, name: string, tolerate: Tolerate): string[] {
  const location = fields.at(name)
  const members = fields.members(name)
  for (const [key, value] of members) {
    if (!(value instanceof Map)) tolerate(locationOf(location, key), 'is not an object')
  }
  return [...members.keys()]
}

/** Reads the labels; Go takes `null` for an empty string. */
function readLabels(fields: FieldReader, tolerate: Tolerate): ReadonlyMap<string, string> {
  const location = fields.at('Labels')
  const labels = new Map<string, string>()
  for (const [key, value] of fields.members('Labels')) {
    const place = locationOf(location, key)
    if (value === null) tolerate(place, 'is null, not a string')
    labels.set(key, value === null ? '' : asString(value, place))
  }
  return labels
}

const NOTHING: JsonObject = new Map()
const EXECUTION_FIELDS = [
  'User',
  'Env',
  'Entrypoint',
  'Cmd',
  'WorkingDir',
  'Volumes',
  'ExposedPorts',
  'Labels',
  'StopSignal',
]
const ENV_ENTRY = /^[^=]+=/
