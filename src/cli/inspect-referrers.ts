// What refers to an image of a registry, for `inspect --referrers`.

import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import type { Image, Referrer, ReferrerList } from '../source/image.js'
import type { CommandArguments } from './commands.js'
import { formatBytes, formatTable, printWarnings } from './output.js'

/**
 * Asks for what refers to an image where the arguments want it, and tells of what is listed wrongly.
 *
 * @throws OcimountError `USAGE` for an image that is in no registry, or a type without the list; those of `Image.referrers`
 */
export async function findReferrers(
  args: CommandArguments,
  image: Image,
): Promise<ReferrerList | undefined> {
  const { artifactType } = args
  if (!args.referrers) {
    if (artifactType === undefined) return undefined
    throw new OcimountError('USAGE', 'Cannot use --artifact-type: it is of use with --referrers')
  }
  if (image.referrers === undefined) {
    const what = escapeText(image.source.path)
    const message = `Cannot list what refers to ${what}: it is not in a registry`
    throw new OcimountError('USAGE', message)
  }
  const list = await image.referrers({ artifactType })
  if (!args.quiet) printWarnings(list.warnings)
  return list
}

/** As values of JSON. */
export function describeReferrers(referrers: readonly Referrer[]): Record<string, unknown>[] {
  return referrers.map(({ subject, digest, mediaType, artifactType, size, annotations }) => ({
    ...{ subject, digest, mediaType, artifactType, size },
    annotations: Object.fromEntries(annotations),
  }))
}

/** A line for each. */
export function formatReferrers(referrers: readonly Referrer[]): string {
  if (referrers.length === 0) return 'Nothing refers to it.\n'
  const rows = referrers.map(({ digest, artifactType, size, annotations }) => [
    digest,
    artifactType === '' ? '-' : escapeText(artifactType),
    formatBytes(size),
    escapeText(annotations.get(TITLE) ?? '-'),
  ])
  return formatTable(['referrer', 'artifact type', 'size', 'title'], rows)
}

const TITLE = 'org.opencontainers.image.title'
