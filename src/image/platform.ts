// Platforms: which operating system and processor an image is for, and which entry of an image index fits one
// (image-spec image-index.md; checklist ). A machine runs programs made for its processor's older
// relatives: the entry for the nearest wins, and between equals the one that comes first in the index.

import { escapeText } from '../byte-string.js'
import { classifyMediaType } from './media-types.js'
import { compatibleProcessors, isSame, normalizeProcessor, type Processor } from './processor.js'

/** In the vocabulary of GOOS and GOARCH, or in another spelling until {@link normalizePlatform}. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
  /** Matters on Windows alone. */
  readonly osVersion?: string
  readonly osFeatures?: readonly string[]
}

/** What the choice needs to know of a descriptor. */
export interface PlatformCandidate {
  readonly mediaType: string
  readonly annotations: ReadonlyMap<string, string>
  readonly platform?: Platform
  readonly artifactType?: string
}

/** Gives the one spelling that stands for all that mean the same; see {@link normalizeProcessor}. */
export function normalizePlatform(platform: Platform): Platform {
  const { os, architecture, variant, ...rest } = platform
  const processor = normalizeProcessor({ architecture, variant: variant ?? '' })
  return {
    ...rest,
    os: os.toLowerCase().replace(/^macos$/, 'darwin'),
    architecture: processor.architecture,
    ...(processor.variant === '' ? {} : { variant: processor.variant }),
  }
}

/** Gives the platform of the containers that this machine runs: Linux on its own processor. */
export function hostPlatform(): Platform {
  const architecture = NODE_ARCHITECTURES.get(process.arch) ?? process.arch
  const { arm_version: armVersion } = process.config.variables as { arm_version?: string }
  const variant = architecture === 'arm' ? (armVersion ?? '') : ''
  return normalizePlatform({ os: 'linux', architecture, variant })
}

/** Formats as `os/architecture[/variant]`, with the version of Windows in brackets; safe to show. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant, osVersion } = normalizePlatform(platform)
  const version = os === 'windows' && osVersion !== undefined ? `(${osVersion})` : ''
  const parts = [`${os}${version}`, architecture, ...(variant === undefined ? [] : [variant])]
  return escapeText(parts.join('/'))
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
  const rank = machine.processors.findIndex((runnable) => isSame(runnable, processor))
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
/** GOARCH by what Node.js calls it; on Linux it runs on ppc64 in little-endian form alone. */
const NODE_ARCHITECTURES: ReadonlyMap<string, string> = new Map([
  ['x64', 'amd64'],
  ['ia32', '386'],
  ['mipsel', 'mipsle'],
  ['ppc64', 'ppc64le'],
])
