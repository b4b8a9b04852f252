// Maps of user and group ids between a container and the machine (user_namespaces(7)).

import { OcimountError } from '../errors.js'
import { quote } from '../image/quote.js'
import { formatIdMap, type IdMapping } from '../mount/id-maps.js'

/** The kernel takes no more lines than these, */
const MAX_MAPPINGS = 340
/** and no more bytes of them, as it wants them: less than a page. */
const MAX_MAP_BYTES = 4095
/** One more than the largest id; -1 is none. */
const ID_LIMIT = 2 ** 32 - 1

/**
 * Parses maps of the form `CONTAINER:HOST:SIZE`, several of them between commas or in several texts.
 *
 * @throws OcimountError `USAGE` for another form, an empty or overflowing range, ranges that overlap on either side, or
 *   more than {@link MAX_MAPPINGS} or {@link MAX_MAP_BYTES}
 */
export function parseIdMappings(texts: readonly string[]): IdMapping[] {
  const mappings = texts.flatMap((text) => text.split(',')).map(parseMapping)
  if (mappings.length > MAX_MAPPINGS) {
    throw invalid(texts.join(','), `it has more than ${MAX_MAPPINGS} ranges`)
  }
  if (formatIdMap(mappings).length > MAX_MAP_BYTES) {
    throw invalid(texts.join(','), `its numbers take more than ${MAX_MAP_BYTES} bytes`)
  }
  for (const side of ['containerID', 'hostID'] as const) {
    const sorted = mappings.toSorted((a, b) => a[side] - b[side])
    for (const [index, mapping] of sorted.entries()) {
      const before = sorted[index - 1]
      if (before !== undefined && before[side] + before.size > mapping[side]) {
        const where = side === 'hostID' ? 'on the host' : 'in the container'
        throw invalid(texts.join(','), `two of its ranges overlap ${where}`)
      }
    }
  }
  return mappings
}

function parseMapping(text: string): IdMapping {
  const match = /^([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})$/.exec(text)
  if (match === null) throw invalid(text, 'it is not of the form CONTAINER:HOST:SIZE')
  const [containerID = 0, hostID = 0, size = 0] = match.slice(1).map(Number)
  if (size === 0) throw invalid(text, 'its size is 0')
  if (Math.max(containerID, hostID) + size > ID_LIMIT) {
    throw invalid(text, `it goes beyond ${ID_LIMIT - 1}`)
  }
  return { containerID, hostID, size }
}

function invalid(text: string, why: string): OcimountError {
  return new OcimountError('USAGE', `Cannot use id map ${quote(text)}: ${why}`)
}
