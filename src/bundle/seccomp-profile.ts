// Reads a seccomp profile as containers-common, podman and Docker write it, which is the runtime-spec's form with
// conditions and names added. The file is the caller's or the machine's, so what is wrong with it is usage.

import { constants } from 'node:os'
import { OcimountError } from '../errors.js'
import type { RuntimeSyscallArgument } from './runtime-config.js'

export interface SeccompProfile {
  readonly defaultAction: string
  readonly defaultErrnoRet: number | undefined
  /** Where there is no `archMap`: as they are to be written. */
  readonly architectures: readonly string[]
  readonly archMap: readonly SeccompArchitecture[]
  readonly flags: readonly string[]
  readonly syscalls: readonly SeccompRule[]
}

/** An architecture and those whose programs its kernel runs too. */
export interface SeccompArchitecture {
  readonly architecture: string
  readonly subArchitectures: readonly string[]
}

export interface SeccompRule {
  readonly names: readonly string[]
  readonly action: string
  readonly errnoRet: number | undefined
  readonly args: readonly RuntimeSyscallArgument[]
  /** The rule counts when all of these hold, */
  readonly includes: SeccompCondition
  /** and none of these does. */
  readonly excludes: SeccompCondition
}

export interface SeccompCondition {
  readonly caps: readonly string[]
  /** In the vocabulary of GOARCH. */
  readonly arches: readonly string[]
  readonly minKernel: readonly [number, number] | undefined
}

/**
 * Parses a profile.
 *
 * @param path is named in messages, escaped
 * @throws OcimountError `USAGE` naming the field
 */
export function parseSeccompProfile(bytes: Uint8Array, path: string): SeccompProfile {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (error) {
    throw new OcimountError('USAGE', `Cannot use seccomp profile ${path}: it is not JSON`, {
      cause: error,
    })
  }
  const root = new Field(value, '', path)
  const archMap = root.list('archMap').map((item) => ({
    architecture: item.get('architecture').text(),
    subArchitectures: item.texts('subArchitectures'),
  }))
  const architectures = root.texts('architectures')
  if (archMap.length > 0 && architectures.length > 0) {
    throw root.invalid('has both archMap and architectures')
  }
  if (root.get('listenerPath').isPresent) throw root.invalid('needs a listener')
  return {
    defaultAction: root.get('defaultAction').text(),
    defaultErrnoRet: readErrno(root, 'defaultErrnoRet', 'defaultErrno'),
    architectures,
    archMap,
    flags: root.texts('flags'),
    syscalls: root.list('syscalls').map(readRule),
  }
}

function readRule(rule: Field): SeccompRule {
  const name = rule.get('name')
  const names = rule.texts('names')
  if (name.isPresent && names.length > 0) throw rule.invalid('has both name and names')
  return {
    names: name.isPresent ? [name.text()] : names,
    action: rule.get('action').text(),
    errnoRet: readErrno(rule, 'errnoRet', 'errno'),
    args: rule.list('args').map((arg) => ({
      index: arg.get('index').integer(),
      value: arg.get('value').integer(),
      valueTwo: arg.get('valueTwo').isPresent ? arg.get('valueTwo').integer() : 0,
      op: arg.get('op').text(),
    })),
    includes: readCondition(rule.get('includes')),
    excludes: readCondition(rule.get('excludes')),
  }
}

function readCondition(condition: Field): SeccompCondition {
  const minKernel = condition.get('minKernel')
  return {
    caps: condition.texts('caps'),
    arches: condition.texts('arches'),
    minKernel: minKernel.isPresent ? readKernel(minKernel) : undefined,
  }
}

function readKernel(field: Field): [number, number] {
  const match = /^([0-9]{1,4})\.([0-9]{1,4})$/.exec(field.text())
  if (match === null) throw field.invalid('is not of the form MAJOR.MINOR')
  return [Number(match[1]), Number(match[2])]
}

/** A number, or the name of one. */
function readErrno(parent: Field, numberName: string, textName: string): number | undefined {
  const number = parent.get(numberName)
  if (number.isPresent) return number.integer()
  const text = parent.get(textName)
  if (!text.isPresent || text.text() === '') return undefined
  const known = Object.entries(constants.errno).find(([name]) => name === text.text())
  if (known === undefined) throw text.invalid('is not the name of an error')
  return known[1]
}

/** A place in the document; `null` counts as absent. */
class Field {
  readonly #value: unknown
  readonly #location: string
  readonly #path: string

  constructor(value: unknown, location: string, path: string) {
    this.#value = value
    this.#location = location
    this.#path = path
  }

  get isPresent(): boolean {
    return this.#value !== undefined && this.#value !== null
  }

  get(name: string): Field {
    if (!this.isPresent) return new Field(undefined, this.#join(name), this.#path)
    if (typeof this.#value !== 'object' || Array.isArray(this.#value)) {
      throw this.invalid('is not an object')
    }
    const members = new Map<string, unknown>(Object.entries(this.#value ?? {}))
    return new Field(members.get(name), this.#join(name), this.#path)
  }

  list(name: string): Field[] {
    const field = this.get(name)
    if (!field.isPresent) return []
    if (!Array.isArray(field.#value)) throw field.invalid('is not an array')
    return field.#value.map((item, index) => new Field(item, field.#join(index), this.#path))
  }

  texts(name: string): string[] {
    return this.list(name).map((item) => item.text())
  }

  text(): string {
    if (typeof this.#value === 'string') return this.#value
    throw this.invalid('is not a string')
  }

  /** Exact: what JSON cannot hold would be another number in the config. */
  integer(): number {
    const value = this.#value
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
    throw this.invalid('is not an integer from 0 to 2^53 - 1')
  }

  invalid(problem: string): OcimountError {
    const where = this.#location === '' ? 'it' : this.#location
    return new OcimountError(
      'USAGE',
      `Cannot use seccomp profile ${this.#path}: ${where} ${problem}`,
    )
  }

  #join(name: string | number): string {
    if (typeof name === 'number') return `${this.#location}[${name}]`
    return this.#location === '' ? name : `${this.#location}.${name}`
  }
}
