// What the options of the command line mean to whoever asks a registry.

import type { OpenImageOptions } from '../source/open-image.js'
import type { CommandArguments } from './commands.js'

/** Those options. */
export type RegistryArguments = Pick<CommandArguments, 'authfile' | 'insecure' | 'offline'>

/** Takes them out of the arguments of a command, or of a request to the serving process. */
export function registryOptions({
  authfile,
  insecure,
  offline,
}: RegistryArguments): Pick<OpenImageOptions, 'registry' | 'isOffline'> {
  return { isOffline: offline, registry: { authFile: authfile, isInsecure: insecure } }
}
