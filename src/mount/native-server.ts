// Starts a server of the addon over the devices of a mount, and answers what it asks: for pieces that are not there, and
// to whom a failed read is to be told. Everything else happens in native threads.

import { constants } from 'node:os'
import type { Stretch } from '../cache/piece-maker.js'
import { isOcimountError, messageOf, OcimountError } from '../errors.js'
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
import type { LiveMount, MountFlags } from './driver.js'
import { errnoOf } from './errno.js'
import type { MountEntry } from './mountinfo.js'
import { detachMount } from './unmount.js'

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
    onMiss: (number, piece, count, offset, length) => {
      const wanted = { offset, length }
      void produce(server, { device: devices[number - firstLayer], number, piece, count, wanted })
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

/** What a driver gives back for a mount that such a server is behind. */
export function liveMount(entry: MountEntry, server: FuseServer): LiveMount {
  return {
    mountpoint: entry.mountpoint,
    device: entry.device,
    isDirect: false,
    finished: server.ended,
    unmount: async ({ lazy = false } = {}) => detachMount(entry, lazy),
    // Whatever is in the image is shown.
    listLimits: () => Promise.resolve([]),
  }
}

/** The flags as the addon takes them. */
export function nativeFlags({ suid = false, dev = false, noexec = false }: MountFlags): {
  readonly suid: boolean
  readonly dev: boolean
  readonly noexec: boolean
} {
  return { suid, dev, noexec }
}

interface Miss {
  readonly device: LayerDevice | undefined
  readonly number: number
  readonly piece: number
  readonly count: number
  /** What of the pieces somebody waits for; undefined where that was tried. */
  readonly wanted: Stretch | undefined
}

async function produce(server: FuseServer, miss: Miss): Promise<void> {
  const { device, number, piece, count, wanted } = miss
  try {
    const part = wanted && {
      ...wanted,
      give: (bytes: Buffer) => {
        server.completePart(number, wanted.offset, bytes)
      },
    }
    const unstored = (await device?.ensure?.(piece, count, part)) ?? []
    for (const one of unstored) server.completeWithBytes(number, one.piece, one.bytes)
    server.complete(number, piece, count, 0)
  } catch (error) {
    // Whose registry does not answer has waited long enough.
    if (count > 1 && !isOcimountError(error, 'REGISTRY_UNAVAILABLE')) {
      // One bad piece must not fail those who wait for the others.
      for (let one = piece; one < piece + count; one++) {
        void produce(server, { ...miss, piece: one, count: 1, wanted: undefined })
      }
      return
    }
    log.error({ device: number, piece }, `Cannot read a layer: ${messageOf(error)}`)
    server.complete(number, piece, count, errnoOf(error))
  }
}
