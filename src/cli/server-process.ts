// The serving process as its parent sees it: spawned early, asked once, told to go when it is not needed.

import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { COMMANDS, GLOBAL_OPTIONS } from './commands.js'

let early: ChildProcess | undefined

/**
 * Starts the serving process when the arguments look like a mount, so that its start-up overlaps with ours.
 *
 * Only a guess: {@link discardServer} ends a process that nobody took.
 */
export function startServerEarly(args: readonly string[]): void {
  if (looksLikeMount(args)) early = spawnServer(args.includes('-'))
}

/** Gives the serving process, the one started early if there is one. */
export function takeServer(needsStdin: boolean): ChildProcess {
  const server = early ?? spawnServer(needsStdin)
  early = undefined
  return server
}

/** Ends a serving process that was started early and not taken. */
export function discardServer(): void {
  early?.kill('SIGKILL')
  if (early?.connected) early.disconnect()
  early = undefined
}

function spawnServer(needsStdin: boolean): ChildProcess {
  const script = fileURLToPath(new URL('./server-main.js', import.meta.url))
  // Its own session, so that it outlives the terminal; no inherited output, so that `ocimount … | cat` ends.
  const server = spawn(process.execPath, [script], {
    detached: true,
    stdio: [needsStdin ? 'inherit' : 'ignore', 'ignore', 'ignore', 'ipc'],
  })
  server.on('error', () => {
    // Reported by whoever waits for it: the exit event follows, or the first send fails.
  })
  return server
}

function looksLikeMount(args: readonly string[]): boolean {
  const mount = COMMANDS[0]
  const takesValue = new Set<string>()
  for (const [name, option] of Object.entries({ ...GLOBAL_OPTIONS, ...mount?.options })) {
    if (option.requiresArg === true || option.choices !== undefined) {
      takesValue.add(name.length === 1 ? `-${name}` : `--${name}`)
    }
  }
  const words: string[] = []
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? ''
    if (/^(-f|--foreground|-h|--help|-V|--version|--get-yargs-completions)$/.test(arg)) return false
    if (takesValue.has(arg)) index++
    else if (!arg.startsWith('-') || arg === '-') words.push(arg)
  }
  const others = new Set([
    'completion',
    ...COMMANDS.slice(1).map((spec) => spec.usage.split(' ')[0]),
  ])
  return words[0] === 'mount' ? words.length === 3 : words.length === 2 && !others.has(words[0])
}
