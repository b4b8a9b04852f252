// What a local archive was verified to hold: stretches of the file whose bytes had the right digests. Kept as
// sealed JSON under the identity of the file, so that a mount of the same file need not hash it again.

import { isOcimountError, messageOf, OcimountError } from '../errors.js'
import { parseDigest, type Digest, type DiffId } from '../image/digest.js'
import { isSameIdentity, type FileIdentity } from './file-identity.js'

/**
 * A stretch of an archive that is a layer: verified against its blob digest, if the image names one, and its DiffID. Of a
 * packed layer the blob digest is always there: it is the name of its blob index.
 */
export interface ArchiveRegion {
  readonly form: 'plain' | 'gzip'
  readonly offset: number
  readonly length: number
  readonly digest?: Digest | undefined
  readonly diffId: DiffId
}

export interface ArchiveRecord {
  /** The state of the file that the regions were verified in. */
  readonly identity: FileIdentity
  readonly regions: readonly ArchiveRegion[]
}

// Version 1 had plain layers alone, and did not say so.
const VERSION = 2
// An archive of some hundred images; what comes later is verified again at each mount.
const MAX_REGIONS = 10_000

/** Gives the payload of a record; regions in the order of their offsets. */
export function encodeArchiveRecord({ identity, regions }: ArchiveRecord): Buffer {
  return Buffer.from(JSON.stringify({ version: VERSION, identity, regions }))
}

/**
 * Reads the payload of a record.
 *
 * @throws OcimountError `CACHE_CORRUPT` when it is malformed or about another file
 */
export function decodeArchiveRecord(payload: Buffer, identity?: FileIdentity): ArchiveRecord {
  try {
    const record = asObject(JSON.parse(payload.toString('utf8')))
    const version = record['version']
    if (version !== 1 && version !== VERSION) throw new TypeError('its version is unknown')
    const found = asIdentity(record['identity'])
    if (identity !== undefined && !isSameIdentity(found, identity)) {
      throw new TypeError('it is about another file')
    }
    const regions = record['regions']
    if (!Array.isArray(regions) || regions.length > MAX_REGIONS) {
      throw new TypeError('its regions are not a list')
    }
    return {
      identity: found,
      regions: regions.map((region) => asRegion(region, found.size, version)),
    }
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError || isOcimountError(error))) {
      throw error
    }
    const message = `Cannot use the record of an archive: ${messageOf(error)}`
    throw new OcimountError('CACHE_CORRUPT', message, { cause: error })
  }
}

/** Gives the union of two lists of regions, or undefined when the first holds all of the second. */
export function mergeRegions(
  known: readonly ArchiveRegion[],
  added: readonly ArchiveRegion[],
): ArchiveRegion[] | undefined {
  const merged = new Map(known.map((region) => [regionKey(region), region]))
  for (const region of added) {
    const { form, offset, length, digest, diffId } = region
    if (merged.size >= MAX_REGIONS) break
    if (merged.has(regionKey(region))) continue
    merged.set(
      regionKey(region),
      digest === undefined
        ? { form, offset, length, diffId }
        : { form, offset, length, digest, diffId },
    )
  }
  if (merged.size === known.length) return undefined
  return [...merged.values()].sort((a, b) => a.offset - b.offset || a.length - b.length)
}

function regionKey({ form, offset, length, digest, diffId }: ArchiveRegion): string {
  return [form, offset, length, digest ?? '', diffId].join(' ')
}

function asRegion(value: unknown, fileSize: number, version: 1 | 2): ArchiveRegion {
  const region = asObject(value)
  const offset = asCount(region['offset'])
  const length = asCount(region['length'])
  if (offset + length > fileSize) throw new TypeError('a region is beyond the end of the file')
  const diffId = parseDigest(asText(region['diffId']))
  const form = version === 1 ? 'plain' : region['form']
  if (form !== 'plain' && form !== 'gzip') throw new TypeError('a region is of no known form')
  if (region['digest'] !== undefined) {
    return { form, offset, length, digest: parseDigest(asText(region['digest'])), diffId }
  }
  if (form === 'gzip') throw new TypeError('a packed region has no digest')
  return { form, offset, length, diffId }
}

function asIdentity(value: unknown): FileIdentity {
  const identity = asObject(value)
  return {
    dev: asText(identity['dev']),
    ino: asText(identity['ino']),
    size: asCount(identity['size']),
    mtimeNs: asText(identity['mtimeNs']),
    ctimeNs: asText(identity['ctimeNs']),
  }
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  throw new TypeError('a part of it is not an object')
}

function asText(value: unknown): string {
  if (typeof value === 'string') return value
  throw new TypeError('a part of it is not text')
}

function asCount(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new TypeError('a part of it is not a count')
}
