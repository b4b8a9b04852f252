// Preloaded into every process of a command: the serving process kills itself before its $KILL_BEFORE-th change of a file below
// $KILL_BELOW.

import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

const below = `${process.env['KILL_BELOW'] ?? ''}/`
let left = Number(process.env['KILL_BEFORE'])

if (process.argv[1]?.endsWith('server-main.js') === true) {
  for (const name of ['mkdir', 'writeFile', 'rename', 'chmod', 'chown', 'utimes'] as const) {
    const original = fs[name] as (...args: unknown[]) => unknown
    Reflect.set(fs, name, (...args: unknown[]) => {
      if (args.some((arg) => typeof arg === 'string' && arg.startsWith(below)) && --left === 0) {
        process.kill(process.pid, 'SIGKILL')
      }
      return original(...args)
    })
  }
  syncBuiltinESMExports()
}
