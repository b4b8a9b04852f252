// The image config: which DiffIDs make the root filesystem, and how a container starts (image-spec config.md).
// Docker writes the same document with more fields, which have no meaning here (checklist A-011). Images of any
// operating system are read: their files can be mounted anywhere.

import { readDigest } from './descriptor.js'
import type { DiffId } from './digest.js'
import {
  asString,
  collectWarnings,
  FieldReader,
  invalidValue,
  locationOf,
  type Tolerate,
} from './field-reader.js'
import { parseJson } from './json.js'
import { MAX_CONFIG_SIZE } from './limits.js'
import { readPlatformDetails } from './platform-object.js'
import type { Platform } from './platform.js'
import { readExecutionConfig, type ExecutionConfig } from './execution-config.js'
import { quote } from './quote.js'

export interface ImageConfig extends Partial<Platform> {
  /** RFC 3339 as written, when it is a valid date. */
  readonly created?: string
  readonly author?: string
  /** Base first; as many as the manifest has layers. */
  readonly diffIds: readonly DiffId[]
  /** For people; says nothing reliable about the layers (checklist A-128). */
  readonly history: readonly HistoryEntry[]
  readonly config: ExecutionConfig
  /** Deviations from the specification that do not matter to a mount. */
  readonly warnings: readonly string[]
}

export interface HistoryEntry {
  readonly created?: string
  readonly createdBy?: string
  readonly author?: string
  readonly comment?: string
  /** True for a step that changed no file. */
  readonly emptyLayer: boolean
}

/**
 * Parses a config whose bytes were verified before.
 *
 * A `null` counts as absent everywhere. Missing `os` or `architecture` is a warning, since the files can be
 * looked at all the same.
 *
 * @param options `strict` turns every warning into an error
 * @throws OcimountError `IMAGE_INVALID` naming the field; `LIMIT_EXCEEDED`
 */
export function parseImageConfig(
  bytes: Uint8Array,
  options: { readonly strict?: boolean } = {},
): ImageConfig {
  const warnings: string[] = []
  const tolerate = collectWarnings(options.strict ?? false, warnings)
  const value = parseJson(bytes, 'image config', { maxSize: MAX_CONFIG_SIZE })
  const fields = new FieldReader(value, 'image config', CONFIG_FIELDS)
  return {
    ...readPlatform(fields, tolerate),
    ...readDate(fields, tolerate),
    ...fields.property('author', 'author'),
    diffIds: readDiffIds(fields, tolerate),
    history: readHistory(fields, tolerate),
    config: readExecutionConfig(fields, tolerate),
    warnings,
  }
}

function readPlatform(fields: FieldReader, tolerate: Tolerate): Partial<Platform> {
  for (const name of ['os', 'architecture']) {
    if ((fields.optionalString(name) ?? '') === '') tolerate(fields.at(name), 'is missing')
  }
  return {
    ...fields.property('os', 'os'),
    ...fields.property('architecture', 'architecture'),
    ...readPlatformDetails(fields),
  }
}

function readDiffIds(fields: FieldReader, tolerate: Tolerate): DiffId[] {
  const rootfs = new FieldReader(fields.required('rootfs'), fields.at('rootfs'), ROOTFS_FIELDS)
  const type = rootfs.string('type')
  if (type !== 'layers') throw invalidValue(rootfs.at('type'), `is ${quote(type)}, not "layers"`)
  // Docker leaves the list out when it is empty, as in an image made by nothing but FROM scratch.
  if (!rootfs.has('diff_ids')) tolerate(rootfs.at('diff_ids'), 'is missing')
  return rootfs.strings('diff_ids').map((text, index) => {
    return readDigest(text, locationOf(rootfs.at('diff_ids'), index))
  })
}

function readHistory(fields: FieldReader, tolerate: Tolerate): HistoryEntry[] {
  const location = fields.at('history')
  return fields.optionalArray('history').map((value, index) => {
    const entry = new FieldReader(value, locationOf(location, index), HISTORY_FIELDS)
    return {
      ...readDate(entry, tolerate),
      ...entry.property('created_by', 'createdBy'),
      ...entry.property('author', 'author'),
      ...entry.property('comment', 'comment'),
      emptyLayer: entry.optionalBoolean('empty_layer') ?? false,
    }
  })
}

function readDate(fields: FieldReader, tolerate: Tolerate): { created?: string } {
  const value = fields.get('created')
  if (value === undefined) return {}
  const location = fields.at('created')
  const created = asString(value, location)
  if (isRfc3339(created)) return { created }
  tolerate(location, `is ${quote(created)}, which is not a date of RFC 3339`)
  return {}
}

function isRfc3339(text: string): boolean {
  const match = RFC3339.exec(text)
  if (match === null) return false
  const [year = 0, month = 0, day = 0] = match.slice(1).map(Number)
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  return day <= (month === 2 ? (leap ? 29 : 28) : [4, 6, 9, 11].includes(month) ? 30 : 31)
}

const CONFIG_FIELDS = [
  'created',
  'author',
  'architecture',
  'os',
  'os.version',
  'os.features',
  'variant',
  'config',
  'rootfs',
  'history',
]
const ROOTFS_FIELDS = ['type', 'diff_ids']
const HISTORY_FIELDS = ['created', 'created_by', 'author', 'comment', 'empty_layer']
/** Year, month and day apart; a second of 60 is a leap second. */
const RFC3339 =
  /^([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$/
