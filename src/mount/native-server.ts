// Starts a server of the addon over the devices of a mount, and answers what it asks: for pieces that are not there, and
// to whom a failed read is to be told. Everything else happens in native threads.

import { constants } from 'node:os'
import { messageOf, OcimountError } from '../errors.js'
import type { LayerDevice } from '../layer/device.js'
import { log } from '../logger.js'
import {
  loadNative,
  nativeUnavailableReason,
  type FuseServer,
  type FuseServerOptions,
  type NativeBindings,
  type NativeDevice,
} from '../native.js'
import type { MountTarget } from './driver.js'
import { errnoOf } from './errno.js'

/** A request waits for the disk in its thread; with more threads than processors others go on meanwhile. */
const THREADS = 8

/**
 * Gives the addon.
 *
 * @throws OcimountError `DRIVER_UNAVAILABLE`
 */
export function requireNative(driver: string): NativeBindings {
  const native = loadNative()
  if (native !== undefined) return native
  throw new OcimountError(
    'DRIVER_UNAVAILABLE',
    `Cannot use the driver ${driver}: the addon is not there (${nativeUnavailableReason() ?? 'unknown'})`,
  )
}

/** What a server serves. */
export interface ServedDevices {
  /** In front of the layers' devices: the metadata, where it is served as a file. */
  readonly first?: NativeDevice
  readonly devices: readonly LayerDevice[]
}

/**
 * Checks that the devices are those of the image, which native code takes for granted.
 *
 * @throws OcimountError `INTERNAL`
 */
export function checkDevices({ image, devices }: MountTarget): void {
  if (devices.length === image.devices.length) return
  throw new OcimountError(
    'INTERNAL',
    `Cannot serve an image of ${image.devices.length} devices: ${devices.length} were given`,
  )
}

/** Starts a server, which owns `fd` from then on. */
export function startServer(
  native: NativeBindings,
  options: Pick<FuseServerOptions, 'fd' | 'kind' | 'metadata' | 'checksAccess'>,
  { first, devices }: ServedDevices,
): FuseServer {
  const firstLayer = first === undefined ? 0 : 1
  const described = devices.map((device) => device.native(firstLayer))
  const server = new native.FuseServer({
    ...options,
    threads: THREADS,
    devices: first === undefined ? described : [first, ...described],
    onMiss: (number, piece, count) => {
      void produce(server, { device: devices[number - firstLayer], number, piece, count })
    },
    onFault: (number, errno, what) => {
      log.error({ device: number - firstLayer, errno }, `Cannot read a layer: ${what}`)
      devices[number - firstLayer]?.noteFault?.(what)
    },
  })
  for (const [index, device] of devices.entries()) {
    device.onFailure?.(() => {
      server.fail(index + firstLayer, constants.errno.EIO)
    })
  }
  return server
}

interface Miss {
  readonly device: LayerDevice | undefined
  readonly number: number
  readonly piece: number
  readonly count: number
}

async function produce(server: FuseServer, { device, number, piece, count }: Miss): Promise<void> {
  try {
    const unstored = (await device?.ensure?.(piece, count)) ?? []
    for (const one of unstored) server.completeWithBytes(number, one.piece, one.bytes)
    server.complete(number, piece, count, 0)
  } catch (error) {
    if (count > 1) {
      // One bad piece must not fail those who wait for the others.
      for (let one = piece; one < piece + count; one++) {
        void produce(server, { device, number, piece: one, count: 1 })
      }
      return
    }
    log.error({ device: number, piece }, `Cannot read a layer: ${messageOf(error)}`)
    server.complete(number, piece, count, errnoOf(error))
  }
}
