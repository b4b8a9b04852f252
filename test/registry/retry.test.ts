// What is told of attempts that are cut short.

import t from 'tap'
import { OcimountError } from '../../src/errors.js'
import { RegistryError } from '../../src/registry/registry-error.js'
import { DEFAULT_RETRIES, withRetries } from '../../src/registry/retry.js'

const POLICY = { ...DEFAULT_RETRIES, firstMs: 1 }
const BUSY = new RegistryError('REGISTRY_UNAVAILABLE', 'busy', { isTransient: true })
const CUT = new OcimountError('INTERRUPTED', 'cut short')

t.test('withRetries() tells what went wrong before the attempt that was cut short', async (t) => {
  const ends: Error[] = [BUSY, CUT]
  const work = (): Promise<never> => Promise.reject(ends.shift() ?? new Error('asked once more'))
  await t.rejects(withRetries(POLICY, undefined, work), { code: 'INTERRUPTED', cause: BUSY })
})

t.test('withRetries() passes on what cuts the first attempt short', async (t) => {
  const work = (): Promise<never> => Promise.reject(CUT)
  t.equal(await withRetries(POLICY, undefined, work).catch((error: unknown) => error), CUT)
})
