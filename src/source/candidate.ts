// What there is to choose from, for a person: names, platforms, digests.

import { escapeText } from '../byte-string.js'
import type { Descriptor } from '../image/descriptor.js'
import type { Digest } from '../image/digest.js'
import type { Platform } from '../image/platform.js'
import { formatPlatform } from '../image/platform.js'
import { isImageCandidate } from '../image/platform-choice.js'
import { attempt } from './attempt.js'
import type { Documents } from './documents.js'
import type { ConfigDocument } from './image-documents.js'
import { isImageManifest, readConfig, readItemConfig, readManifest } from './image-documents.js'
import { findLeaves } from './leaves.js'
import { MAX_LISTED } from './limits.js'
import type { Root } from './root.js'

/** One image, multi-platform image or artifact of a source. */
export interface Candidate {
  /** Picks it by position: `@0`. */
  readonly selector: string
  readonly names: readonly string[]
  /** Digest of the manifest or index; undefined in a docker-archive, which has neither. */
  readonly digest: Digest | undefined
  /** Digests of the configs that could be read. */
  readonly imageIds: readonly Digest[]
  readonly platforms: readonly Platform[]
  /** `artifact`: not a filesystem; never picked unless asked for. */
  readonly kind: 'image' | 'artifact'
}

/** Finds out about a root; what the source lacks, or holds broken, is left out (checklist D-025). */
export async function describeRoot(documents: Documents, root: Root): Promise<Candidate> {
  const base = {
    selector: `@${root.positions[0] ?? 0}`,
    names: root.names,
    digest: root.descriptor?.digest,
  }
  if (root.item !== undefined) {
    const config = await attempt(readItemConfig(documents, root.item))
    const platform = config === undefined ? undefined : platformOf(config)
    return {
      ...base,
      imageIds: config === undefined ? [] : [config.digest],
      platforms: platform === undefined ? [] : [platform],
      kind: 'image',
    }
  }
  const found =
    root.descriptor === undefined
      ? undefined
      : await attempt(findLeaves(documents, root.descriptor))
  const leaves = found?.leaves ?? []
  const described = await Promise.all(leaves.map((leaf) => describeLeaf(documents, leaf)))
  const images = described.filter((leaf) => leaf.isImage)
  const isArtifact = found !== undefined && images.length === 0
  return {
    ...base,
    imageIds: images.flatMap(({ imageId }) => (imageId === undefined ? [] : [imageId])),
    platforms: images.flatMap(({ platform }) => (platform === undefined ? [] : [platform])),
    kind: isArtifact ? 'artifact' : 'image',
  }
}

/** Says in one phrase what a candidate is: `app:1 (@0, linux/amd64, sha256:…)`. */
export function formatCandidate(candidate: Candidate): string {
  const { names, platforms, digest, imageIds, kind, selector } = candidate
  const facts = [
    selector,
    ...(kind === 'artifact' ? ['not an image'] : []),
    ...platforms.slice(0, MAX_LISTED).map(formatPlatform).map(escapeText),
    digest ?? imageIds[0] ?? '',
  ].filter((fact) => fact !== '')
  const shown = names.slice(0, MAX_LISTED).map(escapeText)
  return `${names.length === 0 ? '(unnamed)' : shown.join(' ')} (${facts.join(', ')})`
}

/** Puts candidates into one line; a long list is cut. */
export function formatCandidates(candidates: readonly Candidate[]): string {
  const shown = candidates.slice(0, MAX_LISTED).map(formatCandidate)
  const rest = candidates.length - shown.length
  return [...shown, ...(rest > 0 ? [`and ${rest} more`] : [])].join('; ')
}

/** Gives the platform that a config names. */
export function platformOf({ config }: ConfigDocument): Platform | undefined {
  const { os, architecture, variant, osVersion, osFeatures } = config
  if (os === undefined || architecture === undefined) return undefined
  return {
    os,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { osVersion }),
    ...(osFeatures === undefined ? {} : { osFeatures }),
  }
}

interface DescribedLeaf {
  readonly isImage: boolean
  readonly imageId: Digest | undefined
  readonly platform: Platform | undefined
}

async function describeLeaf(documents: Documents, leaf: Descriptor): Promise<DescribedLeaf> {
  const { platform } = leaf
  if (!isImageCandidate(leaf)) return { isImage: false, imageId: undefined, platform }
  const document = await attempt(readManifest(documents, leaf))
  if (document === undefined) return { isImage: true, imageId: undefined, platform }
  if (!isImageManifest(document.manifest)) return { isImage: false, imageId: undefined, platform }
  const imageId = document.manifest.config.digest
  if (platform !== undefined) return { isImage: true, imageId, platform }
  const config = await attempt(readConfig(documents, document))
  return { isImage: true, imageId, platform: config && platformOf(config) }
}
