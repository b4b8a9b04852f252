// The platform as descriptors and image configs write it (image-spec image-index.md "platform object").

import { FieldReader, type Location, type Tolerate } from './field-reader.js'
import type { JsonValue } from './json.js'
import type { Platform } from './platform.js'

/**
 * Reads the `platform` of a descriptor, as it is written.
 *
 * A missing `os` or `architecture` is tolerated as an empty string, which no platform matches (checklist
 * A-088); when both are missing the object says nothing and counts as absent.
 */
export function parsePlatformObject(
  value: JsonValue,
  location: Location,
  tolerate: Tolerate,
): Platform | undefined {
  const fields = new FieldReader(value, location, PLATFORM_FIELDS)
  for (const name of ['os', 'architecture']) {
    if (!fields.has(name)) tolerate(fields.at(name), 'is missing')
  }
  const os = fields.optionalString('os') ?? ''
  const architecture = fields.optionalString('architecture') ?? ''
  const platform = { os, architecture, ...readPlatformDetails(fields) }
  return os === '' && architecture === '' ? undefined : platform
}

/** Reads the three optional fields that a platform object and an image config have in common. */
export function readPlatformDetails(
  fields: FieldReader,
): Pick<Platform, 'variant' | 'osVersion' | 'osFeatures'> {
  const osFeatures = fields.strings('os.features')
  return {
    ...fields.property('variant', 'variant'),
    ...fields.property('os.version', 'osVersion'),
    ...(osFeatures.length === 0 ? {} : { osFeatures }),
  }
}

const PLATFORM_FIELDS = ['os', 'architecture', 'variant', 'os.version', 'os.features', 'features']
