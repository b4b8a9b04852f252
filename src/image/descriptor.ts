// Descriptors: what every document of an image points with (image-spec descriptor.md).

import { OcimountError } from '../errors.js'
import {
  digestProblem,
  isSupportedDigest,
  parseDigest,
  verifyDigest,
  type Digest,
} from './digest.js'
import {
  asString,
  FieldReader,
  invalidValue,
  locationOf,
  refuse,
  type Location,
  type Tolerate,
} from './field-reader.js'
import type { JsonValue } from './json.js'
import { isMediaType } from './media-types.js'
import { parsePlatformObject } from './platform-object.js'
import type { Platform } from './platform.js'
import { quote } from './quote.js'

export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  /** Length of the content in bytes. */
  readonly size: number
  /** The http and https ones among the `urls`; they never see a credential (checklist ). */
  readonly urls?: readonly string[]
  readonly annotations: ReadonlyMap<string, string>
  /** The content itself, already verified; absent when its digest is of a kind that cannot be. */
  readonly data?: Uint8Array
  readonly platform?: Platform
  readonly artifactType?: string
}

/**
 * Reads a descriptor.
 *
 * @param where names its place in messages, such as `manifest: layers[3]`
 * @param tolerate takes offences that a mount can live with, which are errors otherwise
 * @throws OcimountError `IMAGE_INVALID`; `SIZE_MISMATCH` or `DIGEST_MISMATCH` for embedded `data`
 */
export function parseDescriptor(
  value: JsonValue,
  where: Location,
  tolerate: Tolerate = refuse,
): Descriptor {
  const fields = new FieldReader(value, where, DESCRIPTOR_FIELDS)
  const mediaType = readMediaType(fields.string('mediaType'), fields.at('mediaType'))
  const digest = readDigest(fields.string('digest'), fields.at('digest'))
  const size = fields.size('size')
  const urls = readUrls(fields)
  const data = readData(fields, digest, size)
  const platformValue = fields.get('platform')
  const platform =
    platformValue === undefined
      ? undefined
      : parsePlatformObject(platformValue, fields.at('platform'), tolerate)
  const artifactType = readArtifactType(fields)
  return {
    mediaType,
    digest,
    size,
    ...(urls.length === 0 ? {} : { urls }),
    annotations: fields.stringMap('annotations'),
    ...(data === undefined ? {} : { data }),
    ...(platform === undefined ? {} : { platform }),
    ...(artifactType === undefined ? {} : { artifactType }),
  }
}

/**
 * Refuses bytes that are not what the descriptor says: first by size, then by digest.
 *
 * @param what names the bytes in messages, such as `config`
 * @throws OcimountError `SIZE_MISMATCH`, `DIGEST_MISMATCH`; `IMAGE_UNSUPPORTED` for a digest that cannot be computed
 */
export function verifyDescriptor(bytes: Uint8Array, descriptor: Descriptor, what: string): void {
  verifySize(bytes.length, descriptor.size, what)
  verifyDigest(bytes, descriptor.digest, what)
}

/** Refuses content of another length than announced. */
export function verifySize(actual: number, expected: number, what: string): void {
  if (actual === expected) return
  throw new OcimountError(
    'SIZE_MISMATCH',
    `Cannot use ${what}: it has ${actual} bytes instead of ${expected}`,
    { details: { expected, actual } },
  )
}

/** Reads a digest at a place in a document. */
export function readDigest(text: string, location: Location): Digest {
  const problem = digestProblem(text)
  if (problem !== undefined) throw invalidValue(location, `is ${quote(text)}: ${problem}`)
  return parseDigest(text)
}

/** Reads an optional media type that says what kind of artifact it is. */
export function readArtifactType(fields: FieldReader): string | undefined {
  // Go writes an empty string where there is none.
  const text = fields.optionalString('artifactType') ?? ''
  return text === '' ? undefined : readMediaType(text, fields.at('artifactType'))
}

function readMediaType(text: string, location: Location): string {
  if (isMediaType(text)) return text
  throw invalidValue(location, `is ${quote(text)}, which is not a media type`)
}

function readUrls(fields: FieldReader): string[] {
  const location = fields.at('urls')
  const urls: string[] = []
  for (const [index, value] of fields.optionalArray('urls').entries()) {
    const place = locationOf(location, index)
    const text = asString(value, place)
    if (!URI.test(text)) throw invalidValue(place, `is ${quote(text)}, which is not a URI`)
    if (!HTTP.test(text)) continue
    if (!URL.canParse(text)) throw invalidValue(place, `is ${quote(text)}, which is not a URL`)
    urls.push(text)
  }
  return urls
}

function readData(fields: FieldReader, digest: Digest, size: number): Uint8Array | undefined {
  const text = fields.optionalString('data')
  if (text === undefined) return undefined
  const location = fields.at('data')
  const data = Buffer.from(text, 'base64')
  // Buffer skips what is not base64; only the canonical form comes back as it went in (RFC 4648, section 3.5).
  if (data.toString('base64') !== text) throw invalidValue(location, 'is not padded base64')
  verifySize(data.length, size, location)
  if (!isSupportedDigest(digest)) return undefined
  verifyDigest(data, digest, location)
  return data
}

const DESCRIPTOR_FIELDS = [
  'mediaType',
  'digest',
  'size',
  'urls',
  'annotations',
  'data',
  'platform',
  'artifactType',
]
/** A scheme, and none of the characters that RFC 3986 leaves out. */
const URI = /^[A-Za-z][A-Za-z0-9+.-]*:[!#$%&'()*+,\-./0-9:;=?@A-Z[\]_a-z~]*$/
const HTTP = /^https?:\/\//i
