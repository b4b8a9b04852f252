// What a container runs: Entrypoint and Cmd, overridden as `docker run` has it (checklist C-008 to C-011).

import type { ExecutionConfig } from '../image/execution-config.js'
import { OcimountError } from '../errors.js'
import type { BundleOptions } from './options.js'
import { refusedValue, refuseNul } from './origin.js'

/**
 * Gives the arguments, the program first.
 *
 * Arguments of the caller replace Cmd; an entrypoint of the caller replaces Entrypoint and drops Cmd. Where nothing is
 * left it is `sh` with a warning.
 *
 * @throws OcimountError `USAGE` where nothing is left and the container must start, `IMAGE_INVALID` or `USAGE` for a
 *   program without a name or a NUL byte
 */
export function containerArgs(
  { Entrypoint, Cmd }: ExecutionConfig,
  options: BundleOptions,
  warn: (text: string) => void,
): readonly string[] {
  const entrypoint = options.entrypoint ?? Entrypoint
  const rest = options.entrypoint === undefined ? Cmd : []
  const command = options.args !== undefined && options.args.length > 0 ? options.args : rest
  const args = [...entrypoint, ...command]
  const [program] = args
  if (program === undefined) {
    if (options.mustStart === true) {
      throw new OcimountError(
        'USAGE',
        'Cannot start the image: it has neither Entrypoint nor Cmd; give a command after --',
      )
    }
    warn('the image has neither Entrypoint nor Cmd; sh stands in for them')
    return ['sh']
  }
  const isOwn = options.entrypoint === undefined && command === Cmd
  const origin = isOwn ? 'image' : 'option'
  for (const arg of args) refuseNul(arg, origin, 'the command')
  if (program === '') throw refusedValue(origin, 'the command', 'its program has no name')
  return args
}
