// Paths inside a container that image or caller name: absolute, without `..`.

import { quote } from '../image/quote.js'
import { refusedValue, refuseNul, type Origin } from './origin.js'

/** Directories that belong to the kernel and the runtime. */
export const RUNTIME_DIRECTORIES = ['/proc', '/sys', '/dev'] as const

/**
 * Gives an absolute path without doubled slashes and `.` parts.
 *
 * @param what is said in messages, such as `volume`
 * @throws OcimountError `IMAGE_INVALID` or `USAGE`
 */
export function cleanContainerPath(path: string, origin: Origin, what: string): string {
  const subject = `${what} ${quote(path)}`
  refuseNul(path, origin, subject)
  if (!path.startsWith('/')) throw refusedValue(origin, subject, 'it is not an absolute path')
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.includes('..')) throw refusedValue(origin, subject, 'it has a ".." part')
  return `/${parts.join('/')}`
}

/** Tells whether a clean path is a directory or lies below it. */
export function isAtOrBelow(path: string, directory: string): boolean {
  return path === directory || directory === '/' || path.startsWith(`${directory}/`)
}
