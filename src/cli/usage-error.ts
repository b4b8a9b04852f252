// What is wrong with a command line, in words of ours: those of yargs count arguments and name no remedy.

import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { quote } from '../image/quote.js'
import { GLOBAL_OPTIONS, type CommandSpec } from './commands.js'

interface CommandLine {
  readonly args: readonly string[]
  /** The command that was meant, as far as that is known. */
  readonly spec: CommandSpec | undefined
}

/** Turns a message of yargs into an error. */
export function explainUsage(message: string, { args, spec }: CommandLine): OcimountError {
  const unknown = spec === undefined ? undefined : unknownOption(args, spec)
  if (unknown !== undefined) return usageError(`there is no option ${escapeText(unknown)}`)
  const choice = /Argument: (\S+), Given: ([^]*), Choices: ("[^]*")/.exec(message)
  if (choice !== null) {
    const [, name = '', given = '', choices = ''] = choice
    const subject = name in (spec?.positionals ?? {}) ? name.toUpperCase() : `--${name}`
    const allowed = choices.replaceAll('"', '').split('\n')[0] ?? ''
    return usageError(`${subject} takes ${allowed}, not ${shownValue(given)}`)
  }
  const missing = /Not enough arguments following: (\S+)/.exec(message)?.[1]
  if (missing !== undefined) return usageError(`${dashed(missing)} needs a value`)
  if (/Not enough non-option arguments|^$/.test(message)) return usageError(missingWords(spec))
  const line = message.trim().split('\n').join('; ')
  return usageError(`${line.charAt(0).toLowerCase()}${escapeText(line.slice(1))}`)
}

/** yargs shows values as JSON, which leaves alone much that steers a terminal. */
function shownValue(json: string): string {
  try {
    return quote(String(JSON.parse(json)))
  } catch {
    return escapeText(json)
  }
}

/** Makes the error for a command line that makes no sense. */
export function usageError(why: string): OcimountError {
  return new OcimountError(
    'USAGE',
    `Cannot understand the command line: ${why} (see ocimount --help)`,
  )
}

function missingWords(spec: CommandSpec | undefined): string {
  const [command = 'mount', ...words] = (spec?.usage ?? 'mount <image> <mountpoint>').split(' ')
  const wanted = words.map((word) =>
    word.startsWith('<')
      ? word
          .replace(/[<>]/g, '')
          .replace(/s\.\.$/, '…')
          .toUpperCase()
      : '',
  )
  return `${command} needs ${wanted.filter((word) => word !== '').join(' and ')}`
}

/** An unknown option takes the next word for its value, and then a word seems to be missing. */
function unknownOption(args: readonly string[], spec: CommandSpec): string | undefined {
  const known = new Map<string, boolean>([
    ...['help', 'version', 'h', 'V'].map((name): [string, boolean] => [name, false]),
    ...Object.entries({ ...GLOBAL_OPTIONS, ...spec.options }).flatMap(([name, option]) =>
      [name, ...[option.alias ?? []].flat()].map((word): [string, boolean] => [
        word,
        option.type !== 'boolean',
      ]),
    ),
  ])
  const end = args.indexOf('--')
  for (const arg of end < 0 ? args : args.slice(0, end)) {
    if (arg.startsWith('--')) {
      const name = kebab(arg.slice(2).split('=')[0] ?? '')
      if (!known.has(name) && !known.has(name.replace(/^no-/, ''))) return `--${name}`
    } else if (arg.startsWith('-')) {
      for (const letter of arg.slice(1)) {
        const takesValue = known.get(letter)
        if (takesValue === undefined) return `-${letter}`
        if (takesValue) break
      }
    }
  }
  return undefined
}

/** yargs takes `--cacheDir` for `--cache-dir`. */
function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

function dashed(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`
}
