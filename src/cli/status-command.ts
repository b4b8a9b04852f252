// `ocimount status [MOUNTPOINT]`

import { escapeText } from '../byte-string.js'
import { isOcimountError, OcimountError } from '../errors.js'
import { requestStatus } from '../mount/control.js'
import { findMount, listMounts, type FoundMount } from '../mount/list-mounts.js'
import type { MountRecord } from '../mount/state.js'
import type { LayerMode } from '../rootfs/prepare-layers.js'
import type { RegistryActivity } from '../source/file-tree.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { driverText, formatBytes, printJson, printResult } from './output.js'

type Status = MountRecord & Readonly<Record<string, unknown>>

/** Shows how one mount is doing, or all. Exit status 5 when a verification failed. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const mounts = args.mountpoint ? [await findOne(args.mountpoint)] : await listMounts()
  const statuses = await Promise.all(mounts.map(ask))
  if (args.json) printJson(args.mountpoint ? statuses[0] : statuses)
  else printResult(statuses.map(format).join('\n'))
  return statuses.some(({ verification }) => verification === 'failed')
    ? EXIT.verification
    : EXIT.done
}

async function findOne(mountpoint: string): Promise<FoundMount> {
  const found = await findMount(mountpoint)
  if (found !== undefined) return found
  throw new OcimountError(
    'NOT_MOUNTED',
    `Cannot show the status of ${escapeText(mountpoint)}: no image is mounted there`,
  )
}

async function ask({ record, directory }: FoundMount): Promise<Status> {
  if (record.pid === null) return { ...record }
  try {
    const { record: current, ...facts } = await requestStatus(directory)
    return { ...facts, ...current }
  } catch (error) {
    if (!isOcimountError(error, 'NOT_MOUNTED')) throw error
    return { ...record, answers: false }
  }
}

function limitsOf(status: Status): string[] {
  const limits = (status['limits'] ?? []) as { path: string; detail: string }[]
  return limits.map(({ path, detail }) => `${path}: ${detail}`)
}

interface DeviceStatus {
  readonly size: number
  /** Undefined where the bytes are read from the archive. */
  readonly presentBytes?: number
  readonly faults: readonly { readonly message: string }[]
  /** Undefined for what is of no layer of the image. */
  readonly mode?: LayerMode
  /** Why it is not had as its manifest promises. */
  readonly warning?: string
  /** Of a layer that is fetched as it is read, and so are the next three. */
  readonly fetchedBytes?: number
  readonly requests?: number
  readonly demandRequests?: number
  readonly lastError?: string
}

/** A line for each layer, with what of it is in the cache, and one below it for each fault. */
function layersOf(status: Status): [string, string][] {
  const devices = (status['devices'] ?? []) as DeviceStatus[]
  // A layer that occurs twice has one device.
  const distinct = [...new Set(status.layers)]
  return status.layers.flatMap((layer, index): [string, string][] => {
    const device = devices[distinct.indexOf(layer)]
    const place = device === undefined ? '' : `, ${placeOf(device)}`
    const isFirst = status.layers.indexOf(layer) === index
    const { faults = [], warning, lastError } = (isFirst ? device : undefined) ?? {}
    return [
      [`Layer ${index}`, layer + place],
      ...(warning === undefined ? [] : [['  Note', warning] as [string, string]]),
      ...(lastError === undefined ? [] : [['  Registry', lastError] as [string, string]]),
      ...faults.map(({ message }): [string, string] => ['  Fault', message]),
    ]
  })
}

function placeOf({ size, mode, presentBytes, ...fetched }: DeviceStatus): string {
  const how = mode === undefined ? '' : `${mode}, `
  if (presentBytes === undefined) return `${how}${formatBytes(size)} read in place`
  const present =
    presentBytes === size
      ? `all ${formatBytes(size)} in the cache`
      : `${formatBytes(presentBytes)} of ${formatBytes(size)} in the cache`
  return how + present + (mode === 'lazy' ? `, ${fetchedText(fetched)}` : '')
}

/** How much of what was read had to be waited for is what tells whether fetching ahead is of use. */
function fetchedText({
  fetchedBytes = 0,
  requests = 0,
  demandRequests = 0,
}: Pick<DeviceStatus, 'fetchedBytes' | 'requests' | 'demandRequests'>): string {
  const fetched = `${formatBytes(fetchedBytes)} fetched by this mount`
  return requests === 0
    ? fetched
    : `${fetched} (requests: ${requests}, on demand: ${demandRequests})`
}

/** What a registry gave for this mount, and what went wrong with it, overcome or not. */
function registryOf(status: Status): [string, string][] {
  const activity = status['registry'] as RegistryActivity | undefined
  if (activity === undefined) return []
  const { layers, lastError } = activity
  const sum = (values: readonly number[]): string =>
    formatBytes(values.reduce((total, value) => total + value, 0))
  const size = sum(layers.map((layer) => layer.size))
  const fetched = layers.map((layer) => layer.fetched)
  const came = fetched.some((bytes) => bytes > 0) ? `${sum(fetched)} fetched` : 'nothing fetched'
  return [
    ['Registry', `${came} for layers of ${size}`],
    ...(lastError === undefined
      ? []
      : [['Last failure', `${lastError.message} (${lastError.time})`] as [string, string]]),
  ]
}

function format(status: Status): string {
  const { image, error } = status
  const rows: [string, string | undefined][] = [
    ['Mount point', status.mountpoint],
    ['Image', image.name ?? image.reference],
    ['Source', image.source],
    ['Digest', image.digest],
    ['Platform', image.platform],
    ['Driver', driverText(status.driver, status)],
    ['State', status['answers'] === false ? `${status.state}, does not answer` : status.state],
    ['Verification', status.verification],
    ['Error', error === undefined ? undefined : `${error.message} [${error.code}]`],
    ['Since', status.since],
    ['Process', status.pid === null ? 'none' : String(status.pid)],
    ...((status['warnings'] ?? []) as string[]).map((text): [string, string] => ['Warning', text]),
    ...registryOf(status),
    ...limitsOf(status).map((limit): [string, string] => ['Not shown', limit]),
    ...layersOf(status),
  ]
  return rows
    .filter(([, value]) => value !== undefined)
    .map(
      ([label, value]) =>
        `${`${label}:`.padEnd(14)}${escapeText(value ?? '').replaceAll('\\x5c', '\\')}\n`,
    )
    .join('')
}
