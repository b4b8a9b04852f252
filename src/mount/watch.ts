// Tells when something that this process did not do itself has happened: a mount that went, a process that ended.

import { judgeOwner } from '../cache/process-owner.js'

const PROCESS_POLL_MS = 100
const MOUNTS_POLL_MS = 250

export interface Watch {
  close(): void
}

/** Calls `onEnd` once when the process behind an owner's tag has ended. Does not keep this process alive. */
export function watchProcess(tag: string, onEnd: () => void): Watch {
  const timer = setInterval(() => {
    if (judgeOwner(tag) !== 'dead') return
    clearInterval(timer)
    onEnd()
  }, PROCESS_POLL_MS).unref()
  return {
    close: () => {
      clearInterval(timer)
    },
  }
}

/** Calls `onChange` whenever the mounts of this namespace may have changed. Does not keep this process alive. */
export function watchMounts(onChange: () => void): Watch {
  const timer = setInterval(onChange, MOUNTS_POLL_MS).unref()
  return {
    close: () => {
      clearInterval(timer)
    },
  }
}
