// Sizes as people write them, and the one that bounds a cache.

import { OcimountError } from '../errors.js'
import { quote } from '../image/quote.js'

/** Below this a reader would have its pieces punched out while it reads them. */
export const MIN_CACHE_SIZE = 16_000_000

/**
 * Reads `500M`, `20G`, `1.5GB`, `1GiB`, plain bytes; powers of 1000 unless there is an `i`.
 *
 * @throws OcimountError `USAGE`
 */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?$/i.exec(text.trim())
  if (match === null) {
    const message = `Cannot understand size ${quote(text)}: write 500M, 20G or bytes`
    throw new OcimountError('USAGE', message)
  }
  const [, number = '', unit = '', binary = ''] = match
  const power = ['', 'k', 'm', 'g', 't', 'p'].indexOf(unit.toLowerCase())
  return Math.floor(Number(number) * (binary === '' ? 1000 : 1024) ** power)
}

/**
 * Reads the size of a cache; `what` names where it was given.
 *
 * @throws OcimountError `USAGE`, also for one that is too small to work with
 */
export function parseCacheSize(text: string, what: string): number {
  const size = parseSize(text)
  if (size >= MIN_CACHE_SIZE) return size
  const least = `${MIN_CACHE_SIZE / 1e6}M`
  throw new OcimountError('USAGE', `Cannot use ${what}=${quote(text)}: the least is ${least}`)
}

/** Gives what `$OCIMOUNT_CACHE_SIZE` says, or undefined where it says nothing. */
export function cacheSizeOf(env: NodeJS.ProcessEnv): number | undefined {
  const text = env['OCIMOUNT_CACHE_SIZE'] ?? ''
  return text === '' ? undefined : parseCacheSize(text, 'OCIMOUNT_CACHE_SIZE')
}
