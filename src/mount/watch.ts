// Tells when something that this process did not do itself has happened: a mount that went, a process that ended. The kernel
// announces both to poll(2); without the addon they are looked for by the clock.

import { judgeOwner, parseOwnerTag } from '../cache/process-owner.js'
import { messageOf } from '../errors.js'
import { log } from '../logger.js'
import { loadNative } from '../native.js'

const PROCESS_POLL_MS = 100
const MOUNTS_POLL_MS = 250
/** What belongs together comes in bursts. */
const MOUNTS_SETTLE_MS = 50

export interface Watch {
  close(): void
}

/** Calls `onEnd` once when the process behind an owner's tag has ended. Does not keep this process alive. */
export function watchProcess(tag: string, onEnd: () => void): Watch {
  const end = (): void => {
    watch.close()
    onEnd()
  }
  const check = (): void => {
    if (judgeOwner(tag) === 'dead') end()
  }
  const pid = judgeOwner(tag) === 'alive' ? parseOwnerTag(tag)?.pid : undefined
  const watch =
    (pid === undefined ? undefined : watchAlive(pid, end, check)) ?? every(PROCESS_POLL_MS, check)
  return watch
}

/** @param check is called once: the process may have ended before, and another one have its number */
function watchAlive(pid: number, end: () => void, check: () => void): Watch | undefined {
  const announced = openWatch(pid, end)
  if (announced === undefined) return undefined
  const once = setImmediate(check)
  return {
    close: () => {
      clearImmediate(once)
      announced.close()
    },
  }
}

/** Calls `onChange` whenever the mounts of this namespace may have changed. Does not keep this process alive. */
export function watchMounts(onChange: () => void): Watch {
  let settling: NodeJS.Timeout | undefined
  const settle = (): void => {
    settling ??= setTimeout(() => {
      settling = undefined
      onChange()
    }, MOUNTS_SETTLE_MS).unref()
  }
  const announced = openWatch(0, settle)
  if (announced === undefined) return every(MOUNTS_POLL_MS, onChange)
  // The event loop begins to poll in its next turn, and epoll_ctl(2) swallows what happened until then.
  const once = setImmediate(settle)
  return {
    close: () => {
      clearImmediate(once)
      clearTimeout(settling)
      announced.close()
    },
  }
}

function openWatch(pid: number, onEvent: () => void): Watch | undefined {
  const native = loadNative()
  if (native === undefined) return undefined
  try {
    return new native.Watch({ pid, onEvent })
  } catch (error) {
    log.info({ pid }, `Looking by the clock: ${messageOf(error)}`)
    return undefined
  }
}

function every(milliseconds: number, look: () => void): Watch {
  const timer = setInterval(look, milliseconds).unref()
  return {
    close: () => {
      clearInterval(timer)
    },
  }
}
