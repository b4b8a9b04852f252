// What `validate` reports, and where it collects it.

import type { ErrorCode, OcimountError } from '../errors.js'
import { isOcimountError } from '../errors.js'

/** One thing that is wrong or odd about an image. */
export interface Finding {
  readonly level: 'error' | 'warning'
  /** `DEVIATION` for what is odd and harms nobody. */
  readonly code: ErrorCode | 'DEVIATION'
  /** One line, safe to print. */
  readonly message: string
  /** The part of the image: `index.json`, `manifest sha256:…`, `layer 3 of sha256:…`. */
  readonly where: string
}

/** Collects findings, each once: a blob that two images share is wrong once. */
export class Findings {
  readonly #found = new Map<string, Finding>()

  /** Gives all findings in the order in which they were made. */
  get all(): readonly Finding[] {
    return [...this.#found.values()]
  }

  warn(where: string, message: string): void {
    this.#add({ level: 'warning', code: 'DEVIATION', message, where })
  }

  /** Takes an error that is about the image; every other one is thrown again. */
  take(where: string, error: unknown, level: Finding['level'] = 'error'): void {
    if (!isFindingError(error)) throw error
    this.#add({ level, code: error.code, message: error.message, where })
  }

  /** Gives the result of some work, or takes its error. */
  async attempt<T>(where: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      this.take(where, error)
      return undefined
    }
  }

  #add(finding: Finding): void {
    const key = JSON.stringify([finding.where, finding.code, finding.message])
    if (!this.#found.has(key)) this.#found.set(key, finding)
  }
}

/** What says something about the image, and not about this machine or about what was asked for. */
function isFindingError(error: unknown): error is OcimountError {
  return isOcimountError(
    error,
    'IMAGE_INVALID',
    'IMAGE_UNSUPPORTED',
    'TAR_CORRUPT',
    'LAYER_CORRUPT',
    'COMPRESSION_UNSUPPORTED',
    'LIMIT_EXCEEDED',
    'BLOB_MISSING',
    'DIGEST_MISMATCH',
    'SIZE_MISMATCH',
  )
}
