// Files that only mean something while this process lives: removed when it exits in an orderly way. After a kill
// the next process finds the dead owner in their names.

import { rmSync } from 'node:fs'
import { log } from '../logger.js'
import { messageOf } from '../errors.js'

const actions = new Set<() => void>()
let isListening = false

/** Runs an action when the process exits, unless the function that comes back is called first. */
export function atExit(action: () => void): () => void {
  if (!isListening) {
    isListening = true
    process.once('exit', runAll)
  }
  actions.add(action)
  return () => {
    actions.delete(action)
  }
}

/** Removes a file or directory when the process exits; the same way back as {@link atExit}. */
export function removeAtExit(path: string): () => void {
  return atExit(() => {
    rmSync(path, { recursive: true, force: true })
  })
}

function runAll(): void {
  for (const action of actions) {
    try {
      action()
    } catch (error) {
      log.debug({ why: messageOf(error) }, 'could not clean up at exit')
    }
  }
}
