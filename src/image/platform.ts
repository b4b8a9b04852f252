// Platforms: which operating system and processor an image is for, in the vocabulary of GOOS and GOARCH
// (image-spec image-index.md "platform object").

import { escapeText } from '../byte-string.js'
import { normalizeProcessor } from './processor.js'

/** In the vocabulary of GOOS and GOARCH, or in another spelling until {@link normalizePlatform}. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
  /** Matters on Windows alone. */
  readonly osVersion?: string
  readonly osFeatures?: readonly string[]
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

/** GOARCH by what Node.js calls it; on Linux it runs on ppc64 in little-endian form alone. */
const NODE_ARCHITECTURES: ReadonlyMap<string, string> = new Map([
  ['x64', 'amd64'],
  ['ia32', '386'],
  ['mipsel', 'mipsle'],
  ['ppc64', 'ppc64le'],
])
