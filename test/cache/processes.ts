// Starts child.ts as processes of their own and waits for what they say.
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'

export interface Child {
  readonly process: ChildProcessByStdio<Writable, Readable, null>
  /** Lines that it printed so far. */
  readonly lines: readonly string[]
  /** Gives the next line that was not given yet. */
  nextLine(): Promise<string>
  /** Exit status or signal, once it has ended. */
  readonly ended: Promise<number | string>
}

/** Starts a child. The test kills it at its end, should it still run. */
export function startChild(
  t: { teardown(action: () => unknown): unknown },
  ...args: readonly string[]
): Child {
  const path = fileURLToPath(new URL('child.js', import.meta.url))
  const child = spawn(process.execPath, [path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.on('error', () => undefined)
  const lines: string[] = []
  const output: Interface = createInterface({ input: child.stdout })
  output.on('line', (line) => lines.push(line))
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  let given = 0
  return {
    process: child,
    lines,
    ended,
    async nextLine() {
      if (given === lines.length) await Promise.race([once(output, 'line'), ended])
      const line = lines[given]
      if (line === undefined) throw new Error(`child ${args[0] ?? ''} ended without another line`)
      given++
      return line
    },
  }
}
