// Assembles the command line from the table in commands.ts. The only importer of yargs.

import yargs from 'yargs'
import { OcimountError } from '../errors.js'
import { COMMANDS, GLOBAL_OPTIONS, type CommandArguments, type CommandSpec } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { explainUsage, usageError } from './usage-error.js'

const EPILOGUE = `Exit status: 0 done, 1 unexpected failure, 2 usage, 3 image invalid or unsupported,
4 not found, 5 verification failed, 6 mount or unmount failed, 7 registry, 8 storage.
run gives the container’s own, and 125 for a failure of ocimount itself.`
const COMPLETION = 'completion'

/**
 * Parses the arguments and runs the command that they name.
 *
 * @throws OcimountError `USAGE` for a command line that makes no sense; whatever the command throws.
 */
export async function runProgram(args: readonly string[], version: string): Promise<ExitStatus> {
  let current: CommandSpec | undefined
  const parser = yargs(normalizeArguments(args))
    .scriptName('ocimount')
    .usage(
      '$0 IMAGE MOUNTPOINT\n\nMounts a container image as a root filesystem, without extracting a layer.',
    )
    .parserConfiguration({
      'parse-positional-numbers': false,
      'dot-notation': false,
      'duplicate-arguments-array': true,
    })
    .options(GLOBAL_OPTIONS)
    .strict()
    .demandCommand(1, '')
    .version(version)
    .help()
    .alias('h', 'help')
    .alias('V', 'version')
    .completion(COMPLETION, 'Print a completion script for bash or zsh')
    .epilogue(EPILOGUE)
    .wrap(Math.min(100, process.stdout.columns || 100))
    .exitProcess(false)
    .fail((message: string | null, error: Error | undefined) => {
      if (error !== undefined && error.name !== 'YError') throw error
      throw explainUsage(unprotect(message ?? error?.message ?? ''), { args, spec: current })
    })
  for (const spec of COMMANDS) {
    parser.command({
      command: spec === COMMANDS[0] ? [spec.usage, '$0'] : spec.usage,
      describe: spec.describe,
      builder: (command) => {
        current = spec
        for (const [name, positional] of Object.entries(spec.positionals)) {
          command.positional(name, { type: 'string', ...positional })
        }
        return command.options(spec.options).example(...spec.example)
      },
      handler: (parsed) => {
        throw new Understood(spec, toArguments(spec, parsed))
      },
    })
  }
  if (args[0] === COMPLETION) {
    // yargs would print it and go on to miss an image, as it may not end the process.
    if (args.length > 1) throw usageError(`${COMPLETION} takes no arguments`)
    parser.showCompletionScript()
    return EXIT.done
  }
  try {
    await parser.parseAsync()
  } catch (error) {
    if (!(error instanceof Understood)) throw error
    return (await error.spec.load()).run(error.parsed)
  }
  return EXIT.done
}

/**
 * How the handler of a command leaves yargs: behind one that returns, yargs formats the whole help, in case it will be asked
 * for, and that takes longer than everything else it does.
 */
class Understood extends Error {
  readonly spec: CommandSpec
  readonly parsed: CommandArguments

  constructor(spec: CommandSpec, parsed: CommandArguments) {
    super(`the command line is ${spec.usage}`)
    this.spec = spec
    this.parsed = parsed
  }
}

// No argument of a process holds a NUL: in front of a word it keeps yargs from taking the word for an option, and
// behind `--writable=` it tells the bare option from one whose directory is empty.
const MARK = '\0'

/**
 * Writes the arguments in the way that yargs understands them. The command comes first, since it takes the word
 * behind an option that it does not know yet for its value; a bare --writable must not take the next word for its
 * directory; and `-`, or what follows `--`, is no option though it begins like one.
 */
function normalizeArguments(args: readonly string[]): string[] {
  const at = args.indexOf('--')
  const end = at < 0 ? args.length : at
  const options = args.slice(0, end).map((arg) => {
    if (arg === '--writable') return `--writable=${MARK}`
    // To yargs it would switch --mount off.
    if (arg === '--no-mount') return '--config-only'
    return arg === '-' ? MARK + arg : arg
  })
  const command = findCommand(options)
  const first = command < 0 ? [] : options.splice(command, 1)
  return [...first, ...options, ...args.slice(end + 1).map((arg) => MARK + arg)]
}

/** Gives the place of the first word when it is a command's name. */
function findCommand(args: readonly string[]): number {
  const takingValue = new Set<string>()
  for (const { options } of [{ options: GLOBAL_OPTIONS }, ...COMMANDS]) {
    for (const [name, option] of Object.entries(options)) {
      if (option.type === 'boolean' || name === 'writable') continue
      for (const word of [name, ...[option.alias ?? []].flat()])
        takingValue.add(word.length === 1 ? `-${word}` : `--${word}`)
    }
  }
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? ''
    if (takingValue.has(arg)) index++
    else if (!arg.startsWith('-'))
      return COMMANDS.some(({ usage }) => usage.split(' ')[0] === arg) ? index : -1
  }
  return -1
}

function unprotect(text: string): string {
  return text.replaceAll(MARK, '')
}

function toArguments(spec: CommandSpec, parsed: Record<string, unknown>): CommandArguments {
  const values: Record<string, unknown> = { ...parsed }
  for (const [name, option] of Object.entries({ ...GLOBAL_OPTIONS, ...spec.options })) {
    if (option.array !== true && Array.isArray(parsed[name])) {
      throw new OcimountError('USAGE', `Cannot use --${name} more than once`)
    }
    if (option.type === 'string' && parsed[name] === '') {
      throw new OcimountError('USAGE', `Cannot use --${name}: its value is empty`)
    }
  }
  for (const [name, value] of Object.entries(parsed)) {
    if (typeof value === 'string') values[name] = unprotect(value)
    else if (Array.isArray(value)) values[name] = value.map((item) => unprotect(String(item)))
  }
  // Most often a variable of a script that is not set, and for a path the working directory is not what it meant.
  for (const name of Object.keys(spec.positionals).filter((one) => one !== 'args')) {
    const words = values[name]
    if (words === '' || (Array.isArray(words) && words.includes('')))
      throw usageError(`${name.replace(/s$/, '').toUpperCase()} is empty`)
  }
  const { paths, action } = values
  return {
    ...values,
    paths: Array.isArray(paths) ? paths : typeof action === 'string' ? [action] : [],
  } as unknown as CommandArguments
}
