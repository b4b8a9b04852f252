// Limits and device rules of a container.

import { OcimountError } from '../errors.js'
import type { BundleOptions } from './options.js'
import type { Profile } from './profiles/profile.js'
import type { RuntimeResources } from './runtime-config.js'

/** The usual period of the scheduler's bandwidth control, in microseconds. */
const CPU_PERIOD = 100_000

/**
 * Gives the resources, or undefined for a runtime that may not make control groups.
 *
 * @throws OcimountError `USAGE` where limits are asked for and cannot be kept
 */
export function containerResources(
  profile: Profile,
  options: BundleOptions,
  isRootless: boolean,
): RuntimeResources | undefined {
  const { memory, cpus, pidsLimit } = options
  if (isRootless) {
    if (memory === undefined && cpus === undefined && pidsLimit === undefined) return undefined
    throw new OcimountError(
      'USAGE',
      'Cannot limit memory, processors or processes: without the rights of root there are no control groups',
    )
  }
  const pids = pidsLimit ?? profile.pidsLimit
  return {
    devices: profile.deviceRules,
    ...(memory === undefined ? {} : { memory: { limit: memory } }),
    ...(cpus === undefined
      ? {}
      : { cpu: { quota: Math.round(cpus * CPU_PERIOD), period: CPU_PERIOD } }),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
  }
}
