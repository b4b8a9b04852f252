// The variables of a container (checklist C-005 to C-007): the image's in their order, the caller's over them, and a
// profile's for names that neither has.

import { refuseNul } from './origin.js'

export interface EnvironmentParts {
  readonly image: readonly string[]
  readonly options: readonly string[]
  readonly defaults: readonly string[]
}

/**
 * Joins `NAME=value` lists. Of one name the last value counts, in the place of the first.
 *
 * @throws OcimountError `IMAGE_INVALID` or `USAGE` for a NUL byte
 */
export function containerEnv({ image, options, defaults }: EnvironmentParts): string[] {
  const byName = new Map<string, string>()
  for (const entry of image) {
    refuseNul(entry, 'image', 'the variables')
    byName.set(nameOf(entry), entry)
  }
  for (const entry of options) {
    refuseNul(entry, 'option', 'the variables')
    byName.set(nameOf(entry), entry)
  }
  for (const entry of defaults) {
    const name = nameOf(entry)
    if (!byName.has(name)) byName.set(name, entry)
  }
  return [...byName.values()]
}

function nameOf(entry: string): string {
  const end = entry.indexOf('=')
  return end < 0 ? entry : entry.slice(0, end)
}
