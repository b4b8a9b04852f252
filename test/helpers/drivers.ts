// The drivers as tests run over them, each with the reason why it cannot be used here.

import { messageOf } from '../../src/errors.js'
import { DRIVER_NAMES, type MountDriver } from '../../src/mount/driver.js'
import { fuseDriver } from '../../src/mount/fuse-driver.js'
import { fuseNativeDriver } from '../../src/mount/fuse-native-driver.js'
import { kernelDriver } from '../../src/mount/kernel-driver.js'

export interface TestedDriver {
  readonly name: MountDriver['name']
  /** False where the driver works. */
  readonly skip: string | false
}

const DRIVERS = { kernel: kernelDriver, fuse: fuseDriver, 'fuse-native': fuseNativeDriver }

/** Gives all drivers. */
export async function testedDrivers(): Promise<TestedDriver[]> {
  return Promise.all(
    DRIVER_NAMES.map(async (name) => ({
      name,
      skip: await DRIVERS[name].prepare({}).then(() => false as const, messageOf),
    })),
  )
}
