// Whose fault a value is: what the image's config says is an invalid image, what the caller said is usage.

import { OcimountError } from '../errors.js'

export type Origin = 'image' | 'option'

/** Makes the error for a value of that origin; `what` is a path or field, escaped, such as `volume "/x"`. */
export function refusedValue(origin: Origin, what: string, why: string): OcimountError {
  return new OcimountError(
    origin === 'image' ? 'IMAGE_INVALID' : 'USAGE',
    `Cannot use ${what}${origin === 'image' ? ' of the image' : ''}: ${why}`,
  )
}

/** Refuses text with a NUL byte, which no program's arguments, variables or paths can hold. */
export function refuseNul(text: string, origin: Origin, what: string): void {
  if (text.includes('\0')) throw refusedValue(origin, what, 'it has a NUL byte')
}
