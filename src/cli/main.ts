// The command `ocimount`, as it begins: what is loaded here delays the start of the server, so that it is little.

import { readFileSync } from 'node:fs'
import { startServerEarly } from './early-server.js'

void main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<void> {
  if (args.some((arg) => arg.startsWith('--env-file'))) forgetEnvFiles()
  const server = startServerEarly(args)
  const { runCommand } = await import('./command.js')
  await runCommand(args, server)
}

/** Node.js takes --env-file for its own option wherever it stands, and gives itself what is meant for the container. */
function forgetEnvFiles(): void {
  const given = readFileSync('/proc/self/environ', 'utf8').split('\0')
  const names = new Set(given.map((entry) => entry.split('=')[0]))
  for (const name of Object.keys(process.env)) {
    if (!names.has(name)) Reflect.deleteProperty(process.env, name)
  }
}
