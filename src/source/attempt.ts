// For descriptions, which do without what cannot be read.

import { isOcimountError } from '../errors.js'

/**
 * Gives the result of some work, or undefined when it failed in a foreseen way.
 *
 * Only for work whose failure is reported by whoever picks the thing in question.
 */
export async function attempt<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (isOcimountError(error)) return undefined
    throw error
  }
}
