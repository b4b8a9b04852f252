// Starts the serving process before anything is known but the words of the command line: most calls are mounts, and a mount needs a
// second process, which boots while this one loads the command and parses its arguments.

import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { COMMANDS, GLOBAL_OPTIONS } from './commands.js'
import { serverEnvironment, SERVER_FLAGS } from './server-options.js'

/** A serving process, or with {@link isOrphan} what has started it and is gone; the channel is to the server in any case. */
export interface ServerProcess {
  readonly child: ChildProcess
  readonly isOrphan: boolean
}

/** Starts the serving process when the arguments look like a mount; only a guess. */
export function startServerEarly(args: readonly string[]): ServerProcess | undefined {
  if (!looksLikeMount(args)) return undefined
  // What follows `--` is the container's: `-` there would have the server keep a pipe open that is not for it.
  return spawnServer(ownArguments(args).includes('-'), isRun(args))
}

/**
 * Starts the serving process.
 *
 * An orphan is no child of this process, which may then become another program: crun waits for all children that it finds itself
 * to have, and the server waits for its end. Only the channel tells of the end of the server.
 */
export function spawnServer(needsStdin: boolean, isOrphan: boolean): ServerProcess {
  const script = fileURLToPath(new URL('./server-main.js', import.meta.url))
  // The leader of a session, as which it is started, setsid(1) forks, and ends.
  const command = [
    ...(isOrphan ? ['setsid'] : []),
    process.execPath,
    ...SERVER_FLAGS,
    script,
  ] as const
  // Its own session, so that it outlives the terminal; no inherited output, so that `ocimount … | cat` ends.
  const child = spawn(command[0], command.slice(1), {
    detached: true,
    // Holds what JSON cannot: undefined, infinite numbers.
    serialization: 'advanced',
    stdio: [needsStdin ? 'inherit' : 'ignore', 'ignore', 'ignore', 'ipc'],
    env: serverEnvironment(process.env),
  })
  child.on('error', () => {
    // Reported by whoever waits for it: the channel closes, or the first send fails.
  })
  return { child, isOrphan }
}

/** Tells whether the arguments are those of `run`, whose failures have a status of their own. */
export function isRun(args: readonly string[]): boolean {
  return wordsOf(ownArguments(args))[0] === 'run'
}

/** Those in front of `--`. */
function ownArguments(args: readonly string[]): readonly string[] {
  const end = args.indexOf('--')
  return end < 0 ? args : args.slice(0, end)
}

function looksLikeMount(args: readonly string[]): boolean {
  const own = ownArguments(args)
  if (
    own.some((arg) =>
      /^(-f|--foreground|-h|--help|-V|--version|--get-yargs-completions)$/.test(arg),
    )
  )
    return false
  const words = wordsOf(own)
  const [first = ''] = words
  // An ordinary user's begins again inside a user namespace.
  if (first === 'run') return words.length >= 2 && process.geteuid?.() === 0
  if (first === 'bundle') return words.length >= 3
  if (first === 'mount') return words.length === 3
  const others = new Set(['completion', ...COMMANDS.map((spec) => spec.usage.split(' ')[0])])
  return words.length === 2 && !others.has(first)
}

/** Gives the arguments that are neither options nor their values. */
function wordsOf(args: readonly string[]): string[] {
  const takesValue = new Set<string>()
  for (const { options } of [{ options: GLOBAL_OPTIONS }, ...COMMANDS]) {
    for (const [name, option] of Object.entries(options)) {
      if (option.requiresArg !== true && option.choices === undefined) continue
      for (const word of [name, ...[option.alias ?? []].flat()])
        takesValue.add(word.length === 1 ? `-${word}` : `--${word}`)
    }
  }
  const words: string[] = []
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? ''
    if (takesValue.has(arg)) index++
    else if (!arg.startsWith('-') || arg === '-') words.push(arg)
  }
  return words
}
