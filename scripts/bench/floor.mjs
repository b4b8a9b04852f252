// The floor of a mount command: a Node.js program that starts itself once as a detached child, waits for the
// child's message and ends. Whatever ocimount does comes on top of that.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

if (process.argv[2] === 'child') {
  process.send('ready', () => process.disconnect())
} else {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), 'child'], {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  child.once('message', () => {
    child.disconnect()
    child.unref()
  })
}
