// The two errors of the reader. Where one happens, a member's name may be known or not yet.

import { escapeName, type ByteString } from '../byte-string.js'
import { OcimountError } from '../errors.js'

/** What an error is about: a member, once its name is known, and where its header begins. */
export interface TarPlace {
  readonly path: ByteString | undefined
  readonly headerOffset: number
}

/** Makes a `TAR_CORRUPT` error that names the member and its device offset. */
export function tarCorrupt(place: TarPlace, why: string): OcimountError {
  return new OcimountError('TAR_CORRUPT', `Cannot read ${describe(place)}: ${why}`, {
    details: { deviceOffset: place.headerOffset },
  })
}

/** Makes a `LIMIT_EXCEEDED` error that names the member, its device offset and the cap. */
export function tarLimitExceeded(place: TarPlace, why: string): OcimountError {
  return new OcimountError('LIMIT_EXCEEDED', `Cannot read ${describe(place)}: ${why}`, {
    details: { deviceOffset: place.headerOffset },
  })
}

// A name may be 1 MiB long; a message should not be.
const SHOWN_NAME = 256

function describe({ path, headerOffset }: TarPlace): string {
  const where = `at device offset ${headerOffset}`
  if (path === undefined) return `tar header ${where}`
  const shown = path.length > SHOWN_NAME ? path.slice(0, SHOWN_NAME) : path
  const more = path.length > SHOWN_NAME ? `… (${path.length} bytes)` : ''
  return `tar entry "${escapeName(shown as ByteString)}${more}" ${where}`
}
