// Assembles the command line from the table in commands.ts. The only importer of yargs.

import yargs from 'yargs'
import { OcimountError } from '../errors.js'
import { COMMANDS, GLOBAL_OPTIONS, type CommandArguments, type CommandSpec } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'

const EPILOGUE = `Exit status: 0 done, 1 unexpected failure, 2 usage, 3 image invalid or unsupported,
4 not found, 5 verification failed, 6 mount or unmount failed, 7 registry, 8 storage.`

/**
 * Parses the arguments and runs the command that they name.
 *
 * @throws OcimountError `USAGE` for a command line that makes no sense; whatever the command throws.
 */
export async function runProgram(args: readonly string[], version: string): Promise<ExitStatus> {
  let status: ExitStatus = EXIT.done
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
    .completion('completion', 'Print a completion script for bash or zsh')
    .epilogue(EPILOGUE)
    .wrap(Math.min(100, process.stdout.columns || 100))
    .exitProcess(false)
    .fail((message: string | null, error: Error | undefined) => {
      if (error !== undefined) throw error
      throw new OcimountError(
        'USAGE',
        `${lowerFirst(message ?? '') || 'Cannot tell what to do: IMAGE and MOUNTPOINT are missing'} (see ocimount --help)`,
      )
    })
  for (const spec of COMMANDS) {
    parser.command({
      command: spec === COMMANDS[0] ? [spec.usage, '$0'] : spec.usage,
      describe: spec.describe,
      builder: (command) => {
        for (const [name, positional] of Object.entries(spec.positionals)) {
          command.positional(name, { type: 'string', ...positional })
        }
        return command.options(spec.options).example(...spec.example)
      },
      handler: async (parsed) => {
        status = await (await spec.load()).run(toArguments(spec, parsed))
      },
    })
  }
  await parser.parseAsync()
  return status
}

// A bare --writable must not take the next word for its directory; yargs has no notation for that.
function normalizeArguments(args: readonly string[]): string[] {
  const end = args.indexOf('--')
  return args.map((arg, index) =>
    arg === '--writable' && (end < 0 || index < end) ? '--writable=' : arg,
  )
}

function toArguments(spec: CommandSpec, parsed: Record<string, unknown>): CommandArguments {
  for (const [name, option] of Object.entries({ ...GLOBAL_OPTIONS, ...spec.options })) {
    if (option.array !== true && Array.isArray(parsed[name])) {
      throw new OcimountError('USAGE', `Cannot use --${name} more than once`)
    }
  }
  const paths = parsed['paths']
  const values = {
    paths: Array.isArray(paths) ? paths.map(String) : [],
    ...(typeof parsed['action'] === 'string' ? { paths: [parsed['action']] } : {}),
  }
  return { ...parsed, ...values } as unknown as CommandArguments
}

function lowerFirst(text: string): string {
  const line = text.trim().split('\n').join('; ')
  return line === ''
    ? ''
    : `Cannot understand the command line: ${line.charAt(0).toLowerCase()}${line.slice(1)}`
}
