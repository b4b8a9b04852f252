// What the options of the command line mean to whoever asks a registry.

import { OcimountError } from '../errors.js'
import type { OpenImageOptions } from '../source/open-image.js'
import type { CommandArguments } from './commands.js'

/** Those options. */
export type RegistryArguments = Pick<
  CommandArguments,
  'authfile' | 'insecure' | 'offline' | 'registryTimeout'
>

/**
 * Takes them out of the arguments of a command, or of a request to the serving process.
 *
 * @throws OcimountError `USAGE` for a time that cannot be waited for
 */
export function registryOptions({
  authfile,
  insecure,
  offline,
  registryTimeout,
}: RegistryArguments): Pick<OpenImageOptions, 'registry' | 'isOffline' | 'patienceMs'> {
  if (!(registryTimeout > 0 && registryTimeout <= LONGEST_TIMEOUT)) {
    const why = `it takes seconds, more than 0 and up to ${LONGEST_TIMEOUT}`
    throw new OcimountError('USAGE', `Cannot use --registry-timeout: ${why}`)
  }
  return {
    isOffline: offline,
    patienceMs: registryTimeout * 1000,
    registry: { authFile: authfile, isInsecure: insecure },
  }
}

/** A day. */
const LONGEST_TIMEOUT = 86_400
