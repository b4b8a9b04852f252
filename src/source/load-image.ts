// From the choice to the image: config, layers, platform, and everything about them that is odd.

import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import type { Platform } from '../image/platform.js'
import { matchesPlatform } from '../image/platform-choice.js'
import { formatPlatform, hostPlatform } from '../image/platform.js'
import { platformOf } from './candidate.js'
import type { Choice } from './choose.js'
import type { Documents } from './documents.js'
import type { Image } from './image.js'
import type { ConfigDocument, ManifestDocument } from './image-documents.js'
import { readConfig, readItemConfig, readManifest } from './image-documents.js'
import { findItemLayers, findManifestLayers } from './layer-blobs.js'
import type { ReferrerList } from '../registry/referrers.js'
import type { Root, SourceKind } from './root.js'

/** The documents of a chosen image; they can be looked at even when its layers cannot be used. */
export interface ImageDocuments {
  readonly choice: Choice
  /** Undefined for an item of a docker-archive. */
  readonly manifest: ManifestDocument | undefined
  readonly config: ConfigDocument
  readonly platform: Platform
  readonly warnings: readonly string[]
}

/**
 * Reads manifest and config of a choice.
 *
 * @param wanted the platform that the user asked for; an image that is the only one must then be for it
 * @throws OcimountError `PLATFORM_NOT_FOUND`; as {@link readManifest}, {@link readConfig}, {@link readItemConfig}
 */
export async function loadDocuments(
  documents: Documents,
  choice: Choice,
  wanted: Platform | undefined,
): Promise<ImageDocuments> {
  const { root, descriptor } = choice
  const manifest = descriptor === undefined ? undefined : await readManifest(documents, descriptor)
  let config: ConfigDocument
  if (manifest !== undefined) config = await readConfig(documents, manifest)
  else if (root.item !== undefined) config = await readItemConfig(documents, root.item)
  else throw new OcimountError('INTERNAL', 'Cannot load an image: it has no document')
  const own = platformOf(config)
  const platform = own ?? descriptor?.platform ?? UNKNOWN_PLATFORM
  const warnings = [...(manifest?.manifest.warnings ?? []), ...config.config.warnings]
  if (choice.isOnlyOne) {
    warnings.push(...checkOnlyOne(documents.tree.path, platform, wanted))
  } else if (
    own !== undefined &&
    descriptor?.platform !== undefined &&
    formatPlatform(own) !== formatPlatform(descriptor.platform)
  ) {
    const listed = formatPlatform(descriptor.platform)
    warnings.push(`the index lists the image for ${listed}, its config says ${formatPlatform(own)}`)
  }
  return { choice, manifest, config, platform, warnings }
}

/**
 * Finds the layers of an image whose documents were loaded.
 *
 * @throws OcimountError as {@link findManifestLayers} and {@link findItemLayers}
 */
export async function loadImage(
  documents: Documents,
  loaded: ImageDocuments,
  { kind, ref, close }: { kind: SourceKind; ref: string | undefined; close: () => Promise<void> },
): Promise<Image> {
  const { choice, manifest, config, platform, warnings } = loaded
  const { diffIds } = config.config
  const { item, names } = choice.root
  const layers =
    manifest !== undefined
      ? await findManifestLayers(documents, manifest.manifest, diffIds)
      : item !== undefined
        ? await findItemLayers(documents, item, diffIds)
        : []
  return {
    source: { kind, path: documents.tree.path },
    name: ref !== undefined && names.includes(ref) ? ref : names[0],
    ...(manifest === undefined
      ? {}
      : {
          manifestDigest: manifest.digest,
          manifest: manifest.manifest,
          manifestBytes: manifest.bytes,
        }),
    configDigest: config.digest,
    config: config.config,
    configBytes: config.bytes,
    platform,
    layers,
    warnings,
    ...(kind === 'registry' ? { documentDigests: documents.digests } : {}),
    referrers: referrersOf(documents, choice.root, manifest),
    registry: () => documents.tree.activity?.(),
    close,
  }
}

/** Of what the name means, which may be an index, and of the manifest that was chosen. */
function referrersOf(
  { tree }: Documents,
  { descriptor }: Root,
  manifest: ManifestDocument | undefined,
): Image['referrers'] {
  const digests = [descriptor?.digest, manifest?.digest].filter((digest) => digest !== undefined)
  if (tree.referrers === undefined) return undefined
  return async (options) => {
    const lists: ReferrerList[] = []
    for (const digest of new Set(digests)) {
      const list = await tree.referrers?.(digest, options)
      if (list !== undefined) lists.push(list)
    }
    return {
      referrers: lists.flatMap(({ referrers }) => referrers),
      warnings: lists.flatMap(({ warnings }) => warnings),
    }
  }
}

const UNKNOWN_PLATFORM: Platform = { os: 'unknown', architecture: 'unknown' }

/** What nobody asked for may be of any platform, with a warning (checklist A-101); what was asked for may not. */
function checkOnlyOne(path: string, platform: Platform, wanted: Platform | undefined): string[] {
  if (platform === UNKNOWN_PLATFORM) return []
  const host = hostPlatform()
  if (matchesPlatform(platform, wanted ?? host)) return []
  const there = formatPlatform(platform)
  if (wanted === undefined) {
    return [`the image is for ${there}, this machine is ${formatPlatform(host)}`]
  }
  throw new OcimountError(
    'PLATFORM_NOT_FOUND',
    `Cannot find an image for ${formatPlatform(wanted)} in ${escapeText(path)}: there is ${there}`,
    { details: { platforms: [there] } },
  )
}
