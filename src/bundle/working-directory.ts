// The working directory (checklist C-002 to C-004, S-26).

import { quote } from '../image/quote.js'
import { cleanContainerPath, isAtOrBelow } from './container-path.js'
import { refusedValue, type Origin } from './origin.js'

export interface WorkingDirectory {
  /** As given, apart from a slash that a relative one lacks. */
  readonly cwd: string
  /** The same, clean. */
  readonly path: string
  readonly origin: Origin
}

/**
 * Takes `WorkingDir` or what replaces it; none is the root, a relative one starts there.
 *
 * @throws OcimountError `IMAGE_INVALID` or `USAGE` for one with a `..` part or in /proc, where it could be a directory of the
 *   host that the runtime has open (CVE-2024-21626)
 */
export function workingDirectory(
  text: string,
  origin: Origin,
  warn: (text: string) => void,
): WorkingDirectory {
  if (text === '') return { cwd: '/', path: '/', origin }
  const cwd = text.startsWith('/') ? text : `/${text}`
  if (cwd !== text) warn(`the working directory ${quote(text)} is relative; it starts at the root`)
  const path = cleanContainerPath(cwd, origin, 'working directory')
  if (isAtOrBelow(path, '/proc')) {
    throw refusedValue(origin, `working directory ${quote(text)}`, 'it is in /proc')
  }
  return { cwd, path, origin }
}
