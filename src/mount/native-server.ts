// Starts a server of the addon over the devices of a mount, and answers what it asks: for pieces that are not there, and
// to whom a failed read is to be told. Everything else happens in native threads.

import { constants } from 'node:os'
import type { Stretch } from '../cache/piece-maker.js'
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
      const index = number - firstLayer
      const native = described[index]
      const wanted = native?.kind === 'pieces' && native.hasParts ? { offset, length } : undefined
      void produce(server, { device: devices[index], number, piece, count, wanted })
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
  /** What of the pieces somebody waits for; undefined where they can be had as a whole only. */
  readonly wanted: Stretch | undefined
}

async function produce(server: FuseServer, miss: Miss): Promise<void> {
  const { device, number, piece, count, wanted } = miss
  const answer = { isGiven: false }
  try {
    const part = wanted && {
      ...wanted,
      give: (bytes: Buffer) => {
        answer.isGiven = true
        server.completePart(number, wanted.offset, bytes)
      },
    }
    const unstored = (await device?.ensure?.(piece, count, part)) ?? []
    for (const one of unstored) server.completeWithBytes(number, one.piece, one.bytes)
    server.complete(number, piece, count, 0)
  } catch (error) {
    if (answer.isGiven) {
      log.info({ device: number, piece, why: messageOf(error) }, 'could not fetch what lies beside')
      return
    }
    if (count > 1 && wanted === undefined) {
      // One bad piece must not fail those who wait for the others.
      for (let one = piece; one < piece + count; one++) {
        void produce(server, { ...miss, piece: one, count: 1 })
      }
      return
    }
    log.error({ device: number, piece }, `Cannot read a layer: ${messageOf(error)}`)
    // Where each has asked for what it wants, others may get theirs.
    if (wanted === undefined) server.complete(number, piece, count, errnoOf(error))
    else server.failPart(number, wanted.offset, wanted.length, errnoOf(error))
  }
}
