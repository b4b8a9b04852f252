// The serving process as its parent sees it: asked once, told to go when it is not needed.

import type { ChildProcess } from 'node:child_process'
import { spawnServer, type ServerProcess } from './early-server.js'

let early: ServerProcess | undefined

/** Takes over a serving process that was started before anybody knew whether it is needed; {@link discardServer} ends it. */
export function adoptServer(server: ServerProcess | undefined): void {
  early = server
}

/** Gives the channel to the serving process, the one started early if there is one; see {@link spawnServer}. */
export function takeServer(needsStdin: boolean, isOrphan: boolean): ChildProcess {
  const { child } = early ?? spawnServer(needsStdin, isOrphan)
  early = undefined
  return child
}

/** Ends a serving process that was started early and not taken. */
export function discardServer(): void {
  if (early?.isOrphan === false) early.child.kill('SIGKILL')
  if (early?.child.connected) early.child.disconnect()
  early = undefined
}
