// Picks one image out of a source: by what the user asked for, else the only one there is; then by platform.

import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import type { Descriptor } from '../image/descriptor.js'
import { isImageCandidate, rankPlatforms } from '../image/platform-choice.js'
import type { Platform } from '../image/platform.js'
import { formatPlatform, hostPlatform } from '../image/platform.js'
import { attempt } from './attempt.js'
import type { Candidate } from './candidate.js'
import { describeRoot, formatCandidate, formatCandidates, platformOf } from './candidate.js'
import type { Documents } from './documents.js'
import { blobMissing } from './documents.js'
import { readConfig, readManifest } from './image-documents.js'
import { findLeaves } from './leaves.js'
import { MAX_LISTED } from './limits.js'
import type { Match } from './match-roots.js'
import { matchRoots } from './match-roots.js'
import type { Root } from './root.js'

export interface ChoiceOptions {
  readonly ref?: string | undefined
  /** Undefined: this machine's, and an image that is the only one need not be for it. */
  readonly platform?: Platform | undefined
}

/** The image that was picked. */
export interface Choice {
  readonly root: Root
  /** Its manifest; undefined for an item of a docker-archive. */
  readonly descriptor: Descriptor | undefined
  /** Nothing was picked by platform, so that the image may be for another one than this machine's. */
  readonly isOnlyOne: boolean
}

/**
 * Picks one image.
 *
 * @throws OcimountError `IMAGE_AMBIGUOUS` and `REFERENCE_NOT_FOUND` with all candidates in the details,
 *   `PLATFORM_NOT_FOUND` with the platforms there are, `IMAGE_UNSUPPORTED` where there is no image at all; as
 *   {@link Documents.read}
 */
export async function chooseImage(
  documents: Documents,
  roots: readonly Root[],
  options: ChoiceOptions,
): Promise<Choice> {
  const matches =
    options.ref === undefined
      ? await matchDefault(documents, roots)
      : await matchRef(documents, roots, options.ref)
  const [first] = matches
  if (first === undefined) throw new OcimountError('INTERNAL', 'Cannot choose an image: no match')
  if (matches.length === 1) {
    const { root, leaf } = first
    if (root.item !== undefined || leaf !== undefined) {
      return { root, descriptor: leaf, isOnlyOne: true }
    }
  } else if (matches.some(({ root }) => root.item !== undefined)) {
    throw await ambiguous(documents, matches)
  }
  return chooseByPlatform(documents, matches, options.platform)
}

/** Without a wish there must be one name only, artifacts aside (checklist ). */
async function matchDefault(
  documents: Documents,
  roots: readonly Root[],
): Promise<readonly Match[]> {
  const all = roots.map((root) => ({ root, leaf: undefined }))
  if (roots.length === 0) {
    const path = escapeText(documents.tree.path)
    throw new OcimountError('REFERENCE_NOT_FOUND', `Cannot find an image in ${path}: it lists none`)
  }
  if (roots.length === 1) return all
  const described = await Promise.all(
    all.map(async (match) => ({ match, candidate: await describeRoot(documents, match.root) })),
  )
  const images = described.filter(({ candidate }) => candidate.kind === 'image')
  if (images.length === 0) return all.slice(0, 1)
  // The same name for several platforms is one choice, and so is an index without any name.
  const groups = new Set(images.map(({ match: { root } }) => groupOf(root)))
  const matches = images.map(({ match }) => match)
  if (groups.size > 1) throw await ambiguous(documents, matches)
  return matches
}

/**
 * Finds what a selector means.
 *
 * @throws OcimountError `REFERENCE_NOT_FOUND` with all candidates in the details, `REFERENCE_INVALID`
 */
export async function matchRef(
  documents: Documents,
  roots: readonly Root[],
  ref: string,
): Promise<readonly Match[]> {
  const matches = await matchRoots(documents, roots, ref)
  if (matches.length > 0) return matches
  const candidates = await describeAll(documents, roots)
  const there =
    candidates.length === 0 ? 'it lists none' : `it holds ${formatCandidates(candidates)}`
  throw new OcimountError(
    'REFERENCE_NOT_FOUND',
    `Cannot find ${escapeText(ref)} in ${escapeText(documents.tree.path)}: ${there}`,
    { details: { candidates: candidates.map(formatCandidate) } },
  )
}

async function chooseByPlatform(
  documents: Documents,
  matches: readonly Match[],
  platform: Platform | undefined,
): Promise<Choice> {
  const offers: { root: Root; leaf: Descriptor }[] = []
  const missing: Descriptor[] = []
  for (const { root, leaf } of matches) {
    if (root.descriptor === undefined) continue
    if (leaf !== undefined) {
      offers.push({ root, leaf })
      continue
    }
    const found = await findLeaves(documents, root.descriptor)
    missing.push(...found.missing)
    offers.push(...found.leaves.map((descriptor) => ({ root, leaf: descriptor })))
  }
  const [only] = offers
  // Read as it is, for the error that says what it is or for the image that it may be after all.
  if (only !== undefined && offers.length === 1 && only.leaf === only.root.descriptor) {
    return { root: only.root, descriptor: only.leaf, isOnlyOne: true }
  }
  const images = offers.filter(({ leaf }) => isImageCandidate(leaf))
  const wanted = platform ?? hostPlatform()
  const best = await rankOffers(documents, images, wanted)
  const [winner, ...others] = best
  if (winner === undefined) {
    const [absent] = missing
    if (absent !== undefined) {
      throw blobMissing(documents.tree.path, `index ${absent.digest}`, absent.digest)
    }
    throw platformNotFound(documents, wanted, images)
  }
  // Entries of one index may be equal, the first wins; two roots of one name may not.
  const isRival = ({ root, leaf }: Offer): boolean =>
    root !== winner.root &&
    leaf.digest !== winner.leaf.digest &&
    textOf(leaf.platform) === textOf(winner.leaf.platform)
  if (others.some(isRival)) throw await ambiguous(documents, matches)
  // What no platform was known of was not picked by it.
  const isOnlyOne = winner.leaf.platform === undefined
  return { root: winner.root, descriptor: winner.leaf, isOnlyOne }
}

interface Offer {
  readonly root: Root
  readonly leaf: Descriptor
}

/** Ranks by the platforms that the indexes name and, where none fits, by those that the configs name. */
async function rankOffers(
  documents: Documents,
  offers: readonly Offer[],
  wanted: Platform,
): Promise<Offer[]> {
  const ranked = rank(offers, wanted)
  if (ranked[0] === undefined || ranked[0].leaf.platform !== undefined || ranked.length === 1) {
    return ranked
  }
  const filled = await Promise.all(
    ranked.map(async ({ root, leaf }) => ({ root, leaf: await withPlatform(documents, leaf) })),
  )
  return rank(filled, wanted)
}

function rank(offers: readonly Offer[], wanted: Platform): Offer[] {
  const candidates = offers.map((offer) => ({ ...offer.leaf, offer }))
  return rankPlatforms(candidates, wanted).map(({ offer }) => offer)
}

async function withPlatform(documents: Documents, leaf: Descriptor): Promise<Descriptor> {
  const document = await attempt(readManifest(documents, leaf))
  const config = document === undefined ? undefined : await attempt(readConfig(documents, document))
  const platform = config === undefined ? undefined : platformOf(config)
  return platform === undefined ? leaf : { ...leaf, platform }
}

function platformNotFound(
  documents: Documents,
  wanted: Platform,
  offers: readonly Offer[],
): OcimountError {
  const path = escapeText(documents.tree.path)
  const platforms = [...new Set(offers.map(({ leaf }) => textOf(leaf.platform)))]
  if (platforms.length === 0) {
    const message = `Cannot use ${path} as an image: it holds artifacts only, no image`
    return new OcimountError('IMAGE_UNSUPPORTED', message)
  }
  const there = platforms.slice(0, MAX_LISTED).join(', ')
  const message = `Cannot find an image for ${formatPlatform(wanted)} in ${path}: there is ${there}`
  return new OcimountError('PLATFORM_NOT_FOUND', message, { details: { platforms } })
}

async function ambiguous(documents: Documents, matches: readonly Match[]): Promise<OcimountError> {
  const roots = [...new Set(matches.map(({ root }) => root))]
  const candidates = await describeAll(documents, roots)
  const path = escapeText(documents.tree.path)
  const count = candidates.length
  return new OcimountError(
    'IMAGE_AMBIGUOUS',
    `Cannot choose one of ${count} images in ${path}: name one with --ref: ${formatCandidates(candidates)}`,
    { details: { candidates: candidates.map(formatCandidate) } },
  )
}

function describeAll(documents: Documents, roots: readonly Root[]): Promise<Candidate[]> {
  return Promise.all(roots.map((root) => describeRoot(documents, root)))
}

function groupOf(root: Root): string {
  if (root.names.length > 0) return JSON.stringify([...root.names].sort())
  return root.item === undefined ? '' : `@${root.positions[0] ?? 0}`
}

function textOf(platform: Platform | undefined): string {
  return platform === undefined ? 'an unnamed platform' : formatPlatform(platform)
}
