// What writing into the cache leaves of a filesystem that others use too.

import { statfs } from 'node:fs/promises'
import { OcimountError } from '../errors.js'

/** A bomb must not fill the disk for everybody: writing stops while this much, or 5 % of a small disk, is free. */
const RESERVE = 1024 ** 3
const FRACTION = 0.05
/** Bytes of output between two looks; fewer where the reserve is near. */
const MAX_STEP = 64 * 1024 ** 2
const MIN_STEP = 1024 ** 2

/** Watches the free space while a file of unknown length grows. */
export class FreeSpaceGuard {
  readonly #directory: string
  readonly #refusal: string
  #nextCheck = 0

  /** `refusal` is the beginning of the error's message, such as `Cannot store layer sha256:…`. */
  constructor(directory: string, refusal: string) {
    this.#directory = directory
    this.#refusal = refusal
  }

  /** @throws OcimountError `STORAGE_FULL`, when it is time to look and too little is free */
  async check(size: number): Promise<void> {
    if (size < this.#nextCheck) return
    const { bavail, blocks, bsize } = await statfs(this.#directory)
    const reserve = Math.min(RESERVE, blocks * bsize * FRACTION)
    const left = bavail * bsize - reserve
    this.#nextCheck = size + Math.min(MAX_STEP, Math.max(MIN_STEP, left / 2))
    if (left >= 0) return
    const free = Math.round(reserve / 1024 ** 2)
    throw new OcimountError(
      'STORAGE_FULL',
      `${this.#refusal}: less than ${free} MiB are free in the cache's filesystem`,
    )
  }
}
