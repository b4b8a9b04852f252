// Which entry of an image index fits a platform (image-spec image-index.md; checklist ). A machine
// runs programs made for its processor's older relatives: the entry for the nearest wins, and between equals the one
// that comes first in the index.

import { classifyMediaType } from './media-types.js'
import { normalizePlatform, type Platform } from './platform.js'
import { compatibleProcessors, isSameProcessor, type Processor } from './processor.js'

/** What the choice needs to know of a descriptor. */
export interface PlatformCandidate {
  readonly mediaType: string
  readonly annotations: ReadonlyMap<string, string>
  readonly platform?: Platform
  readonly artifactType?: string
}

/** Picks the entry that fits best; see {@link rankPlatforms}. */
export function choosePlatform<T extends PlatformCandidate>(
  candidates: readonly T[],
  wanted: Platform,
): T | undefined {
  return rankPlatforms(candidates, wanted)[0]
}

/**
 * Gives every entry that a machine of the wanted platform can use, best first.
 *
 * What is no image ({@link isImageCandidate}) is passed over. An entry without a platform comes last: its
 * config or, for an index, its own entries say what it is for. Of two that are equal otherwise, the one
 * marked as compressed with zstd comes first.
 */
export function rankPlatforms<T extends PlatformCandidate>(
  candidates: readonly T[],
  wanted: Platform,
): T[] {
  const machine = machineOf(wanted)
  return candidates
    .filter(isImageCandidate)
    .map((candidate) => ({
      candidate,
      rank: candidate.platform === undefined ? LAST_RESORT : rankOf(candidate.platform, machine),
    }))
    .filter(({ rank }) => rank !== NEVER)
    .sort((a, b) => a.rank - b.rank || zstdRank(a.candidate) - zstdRank(b.candidate))
    .map(({ candidate }) => candidate)
}

/** Tells whether a machine of the wanted platform can run programs made for `platform`. */
export function matchesPlatform(platform: Platform, wanted: Platform): boolean {
  return rankOf(platform, machineOf(wanted)) !== NEVER
}

/** Tells whether an index entry may be an image: not an attestation, an artifact or something unknown. */
export function isImageCandidate(candidate: PlatformCandidate): boolean {
  const role = classifyMediaType(candidate.mediaType)
  if (role !== 'manifest' && role !== 'index') return false
  if (candidate.annotations.get(REFERENCE_TYPE) === 'attestation-manifest') return false
  const { platform, artifactType } = candidate
  if (platform === undefined) {
    return artifactType === undefined || classifyMediaType(artifactType) === 'config'
  }
  return platform.os !== 'unknown' && platform.architecture !== 'unknown'
}

interface Machine {
  readonly platform: Platform
  readonly processors: readonly Processor[]
}

function machineOf(wanted: Platform): Machine {
  const platform = normalizePlatform(wanted)
  return { platform, processors: compatibleProcessors(processorOf(platform)) }
}

function processorOf(platform: Platform): Processor {
  return { architecture: platform.architecture, variant: platform.variant ?? '' }
}

function rankOf(platform: Platform, machine: Machine): number {
  const candidate = normalizePlatform(platform)
  if (candidate.os !== machine.platform.os) return NEVER
  if (!hasFeatures(machine.platform, candidate)) return NEVER
  if (candidate.os === 'windows' && !isSameBuild(candidate, machine.platform)) return NEVER
  const processor = processorOf(candidate)
  const rank = machine.processors.findIndex((runnable) => isSameProcessor(runnable, processor))
  return rank === -1 ? NEVER : rank
}

/** Every feature that an image names is one that it cannot do without. */
function hasFeatures(machine: Platform, candidate: Platform): boolean {
  const features = machine.osFeatures ?? []
  return (candidate.osFeatures ?? []).every((feature) => features.includes(feature))
}

/** A Windows container needs the build of Windows that it was made for: the first three numbers. */
function isSameBuild(a: Platform, b: Platform): boolean {
  if (a.osVersion === undefined || b.osVersion === undefined) return true
  const build = (version: string): string => version.split('.').slice(0, 3).join('.')
  return build(a.osVersion) === build(b.osVersion)
}

function zstdRank(candidate: PlatformCandidate): number {
  return candidate.annotations.get(ZSTD_INSTANCE) === 'true' ? 0 : 1
}

const NEVER = Infinity
const LAST_RESORT = Number.MAX_SAFE_INTEGER
/** Set by BuildKit on the manifest of an attestation, which also has the platform unknown/unknown. */
const REFERENCE_TYPE = 'vnd.docker.reference.type'
/** Set by the containers tools on the zstd twin of an instance. */
const ZSTD_INSTANCE = 'io.github.containers.compression.zstd'
