// What --platform takes: OS/ARCH[/VARIANT], or one of the first two alone.

import { OcimountError } from '../errors.js'
import { hostPlatform, normalizePlatform, type Platform } from '../image/platform.js'
import { quote } from '../image/quote.js'

/**
 * Parses a platform and gives its normalized form.
 *
 * A known operating system alone is completed with this machine's processor, a known architecture alone with
 * Linux. Windows may have its version in brackets: `windows(10.0.17763)/amd64`.
 *
 * @throws OcimountError `USAGE`
 */
export function parsePlatform(text: string): Platform {
  const match = PLATFORM.exec(text)
  if (match === null) throw invalid(text, 'it is not of the form OS/ARCH or OS/ARCH/VARIANT')
  const [, first = '', osVersion, architecture, variant] = match
  if (architecture === undefined) return parseSingle(text, first, osVersion)
  return normalizePlatform({
    os: first,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { osVersion }),
  })
}

function parseSingle(text: string, word: string, osVersion: string | undefined): Platform {
  const version = osVersion === undefined ? {} : { osVersion }
  const os = normalizePlatform({ os: word, architecture: '' })
  if (OPERATING_SYSTEMS.has(os.os)) return { ...hostPlatform(), os: os.os, ...version }
  const platform = normalizePlatform({ os: 'linux', architecture: word })
  if (ARCHITECTURES.has(platform.architecture) && osVersion === undefined) return platform
  throw invalid(text, 'it is neither a known operating system nor a known architecture')
}

function invalid(text: string, why: string): OcimountError {
  return new OcimountError('USAGE', `Cannot use platform ${quote(text)}: ${why}`)
}

const PLATFORM =
  /^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]+)\))?(?:\/([A-Za-z0-9_-]+)(?:\/([A-Za-z0-9_.-]+))?)?$/
/** Those for which images exist or GOOS has a name. */
const OPERATING_SYSTEMS: ReadonlySet<string> = new Set(
  'aix android darwin dragonfly freebsd illumos js linux netbsd openbsd plan9 solaris wasip1 windows'.split(
    ' ',
  ),
)
/** The values of GOARCH. */
const ARCHITECTURES: ReadonlySet<string> = new Set(
  '386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x sparc64 wasm'.split(
    ' ',
  ),
)
