// Takes the fields out of a JSON object with the checks that every document needs, and says in every error where
// the offence is: `Cannot parse manifest: layers[3].size must be an integer, not a string`.

import { OcimountError } from '../errors.js'
import { JsonNumber, type JsonArray, type JsonObject, type JsonValue } from './json.js'
import { quote } from './quote.js'

/** Where a value stands: a document's name, then the path within it, such as `manifest: layers[3]`. */
export type Location = string

/** Gives the location of a member or an element. */
export function locationOf(parent: Location, key: string | number): Location {
  const isRoot = !parent.includes(': ')
  if (typeof key === 'number') return `${parent}${isRoot ? ': ' : ''}[${key}]`
  const name = PLAIN_NAME.test(key) ? key : `[${quote(key)}]`
  return `${parent}${isRoot ? ': ' : name.startsWith('[') ? '' : '.'}${name}`
}

/** Makes the error for a value that is not what it must be; `problem` goes on where the location ends. */
export function invalidValue(location: Location, problem: string): OcimountError {
  const subject = location.includes(': ') ? location : `${location}: it`
  return new OcimountError('IMAGE_INVALID', `Cannot parse ${subject} ${problem}`)
}

/**
 * Says what to do about an offence that a mount can live with.
 *
 * The default is an error; a parser that goes on collects a warning instead.
 */
export type Tolerate = (location: Location, problem: string) => void

/** Tolerates nothing. */
export const refuse: Tolerate = (location, problem) => {
  throw invalidValue(location, problem)
}

/** Collects offences as sentences such as `manifest: layers is empty`, or refuses them when `strict`. */
export function collectWarnings(strict: boolean, warnings: string[]): Tolerate {
  if (strict) return refuse
  return (location, problem) => {
    warnings.push(`${location} ${problem}`)
  }
}

/**
 * Reads one object.
 *
 * A `null` counts as absent. A name that differs from a known one by case alone is refused: Go programs
 * would take it for the known one, others not, and two readers must not see two images (checklist A-062).
 */
export class FieldReader {
  readonly location: Location
  readonly #object: JsonObject

  /**
   * @param known every name that this kind of object gives a meaning to
   * @throws OcimountError `IMAGE_INVALID`, as every other method of the class
   */
  constructor(value: JsonValue, location: Location, known: readonly string[]) {
    if (!(value instanceof Map)) throw mustBe(location, 'an object', value)
    this.location = location
    this.#object = value as JsonObject
    const folded = new Map(known.map((name) => [foldCase(name), name]))
    for (const name of this.#object.keys()) {
      const meant = folded.get(foldCase(name))
      if (meant !== undefined && meant !== name) {
        throw invalidValue(
          location,
          `has ${quote(name)}, which differs from "${meant}" only in case`,
        )
      }
    }
  }

  /** Tells whether the name is there with anything but `null`. */
  has(name: string): boolean {
    return this.get(name) !== undefined
  }

  /** Gives the value as it is; undefined when absent or `null`. */
  get(name: string): JsonValue | undefined {
    return this.#object.get(name) ?? undefined
  }

  /** Gives the location of a field. */
  at(name: string): Location {
    return locationOf(this.location, name)
  }

  required(name: string): JsonValue {
    const value = this.get(name)
    if (value === undefined) throw invalidValue(this.at(name), 'is missing')
    return value
  }

  string(name: string): string {
    return asString(this.required(name), this.at(name))
  }

  optionalString(name: string): string | undefined {
    const value = this.get(name)
    return value === undefined ? undefined : asString(value, this.at(name))
  }

  /** Gives a property to spread into a result; none when absent, `null` or, as Go writes it, an empty string. */
  property<K extends string>(name: string, key: K): Partial<Record<K, string>> {
    const value = this.optionalString(name) ?? ''
    const result: Partial<Record<string, string>> = value === '' ? {} : { [key]: value }
    return result
  }

  optionalBoolean(name: string): boolean | undefined {
    const value = this.get(name)
    if (value === undefined || typeof value === 'boolean') return value
    throw mustBe(this.at(name), 'true or false', value)
  }

  /** Gives an integer from 0 to 2^53 − 1 that is written as one: not `1e3`, not `1.0`. */
  size(name: string): number {
    const value = this.required(name)
    const location = this.at(name)
    if (value instanceof JsonNumber && /^-?[0-9]+$/.test(value.literal)) {
      throw invalidValue(location, 'is too large to be exact')
    }
    if (typeof value !== 'number') throw mustBe(location, 'an integer', value)
    if (value < 0) throw invalidValue(location, 'is negative')
    return value === 0 ? 0 : value // -0 is 0
  }

  array(name: string): JsonArray {
    return asArray(this.required(name), this.at(name))
  }

  /** Gives an array's elements, none when absent or `null`. */
  optionalArray(name: string): JsonArray {
    const value = this.get(name)
    return value === undefined ? [] : asArray(value, this.at(name))
  }

  /** Gives an array of strings, empty when absent or `null`. */
  strings(name: string): string[] {
    const location = this.at(name)
    return this.optionalArray(name).map((value, index) =>
      asString(value, locationOf(location, index)),
    )
  }

  /** Gives an object's members, none when absent or `null`. */
  members(name: string): JsonObject {
    const value = this.get(name)
    if (value === undefined) return new Map()
    if (!(value instanceof Map)) throw mustBe(this.at(name), 'an object', value)
    return value as JsonObject
  }

  /** Gives an object whose values are strings, such as annotations; empty when absent or `null`. */
  stringMap(name: string): ReadonlyMap<string, string> {
    const location = this.at(name)
    const strings = new Map<string, string>()
    for (const [key, value] of this.members(name)) {
      strings.set(key, asString(value, locationOf(location, key)))
    }
    return strings
  }
}

/** Takes a string, or refuses anything else. */
export function asString(value: JsonValue, location: Location): string {
  if (typeof value !== 'string') throw mustBe(location, 'a string', value)
  return value
}

/** Takes an array, or refuses anything else. */
export function asArray(value: JsonValue, location: Location): JsonArray {
  if (!Array.isArray(value)) throw mustBe(location, 'an array', value)
  return value as JsonArray
}

function mustBe(location: Location, wanted: string, value: JsonValue): OcimountError {
  return invalidValue(location, `must be ${wanted}, not ${describe(value)}`)
}

function describe(value: JsonValue): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (value instanceof Map) return 'an object'
  if (value instanceof JsonNumber) return `the number ${quote(value.literal).slice(1, -1)}`
  return typeof value === 'boolean' ? String(value) : `a ${typeof value}`
}

/** Folds case as Go does: the long s and the kelvin sign fold to ASCII letters (U+212A by toLowerCase). */
export function foldCase(name: string): string {
  return name.replaceAll('\u017f', 's').toLowerCase()
}

const PLAIN_NAME = /^[A-Za-z_][A-Za-z0-9_.]{0,39}$/
