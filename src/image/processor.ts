// Processors: the names that mean the same one, and which run each other's programs.

/** Architecture and variant, the latter empty where it is the default or there is none. */
export interface Processor {
  readonly architecture: string
  readonly variant: string
}

/**
 * Gives the GOARCH spelling of an architecture and its variant.
 *
 * The variant is empty where it is the default (`v8` of arm64, `v1` of amd64), except on arm, where the
 * default is spelled `v7`.
 */
export function normalizeProcessor(processor: Processor): Processor {
  const architecture = processor.architecture.toLowerCase()
  const variant = processor.variant.toLowerCase()
  const known = ALIASES.get(architecture)
  if (known === undefined) return { architecture, variant }
  // What has no variants of its own may be followed by anything, and i386/v7 is no more than 386.
  if (known.variant !== '' || known.architecture === '386') return known
  return {
    architecture: known.architecture,
    variant: normalizeVariant(known.architecture, variant),
  }
}

/**
 * Lists the processors whose programs a processor runs, itself first, then from newer to older.
 *
 * Expects and gives normalized ones, each once.
 */
export function compatibleProcessors(processor: Processor): Processor[] {
  const { architecture, variant } = processor
  const list = [processor, ...olderRelatives(architecture, variant)]
  return list.filter(
    (entry, index) => list.findIndex((other) => isSameProcessor(entry, other)) === index,
  )
}

/** Tells whether two normalized processors are the same. */
export function isSameProcessor(a: Processor, b: Processor): boolean {
  return a.architecture === b.architecture && a.variant === b.variant
}

function olderRelatives(architecture: string, variant: string): Processor[] {
  const plain = { architecture, variant: '' }
  switch (architecture) {
    case 'amd64':
      return [...countDown('amd64', variant, 2), plain, { architecture: '386', variant: '' }]
    case 'arm':
      return countDown('arm', variant, 5)
    case 'arm64':
      return [...armRevisions(variant === '' ? 'v8' : variant), plain, ...countDown('arm', 'v8', 5)]
    default:
      return [plain]
  }
}

/** Counts down whole versions: from `v7` to `v5`. */
function countDown(architecture: string, variant: string, lowest: number): Processor[] {
  const match = /^v([0-9]{1,2})$/.exec(variant)
  const list: Processor[] = []
  if (match === null) return list
  for (let version = Number(match[1]); version >= lowest; version--) {
    list.push({ architecture, variant: `v${version}` })
  }
  return list
}

/** Counts down ARMv9 and ARMv8 revisions; v9.n includes v8.(n+5) (Arm Architecture Reference Manual, A2.1). */
function armRevisions(variant: string): Processor[] {
  const match = /^v([89])(?:\.([0-9]))?$/.exec(variant)
  if (match === null) return []
  const minor = Number(match[2] ?? 0)
  const count = (major: number, from: number): Processor[] =>
    Array.from({ length: from + 1 }, (_, index) => ({
      architecture: 'arm64',
      variant: normalizeVariant('arm64', `v${major}.${from - index}`),
    }))
  return match[1] === '8'
    ? count(8, minor)
    : [...count(9, minor), ...count(8, Math.min(minor + 5, 9))]
}

function normalizeVariant(architecture: string, variant: string): string {
  const number = /^v?([0-9]+(?:\.[0-9]+)?)$/.exec(variant)?.[1]
  const spelled = number === undefined ? variant : `v${number.replace(/\.0$/, '')}`
  if (architecture === 'arm' && spelled === '') return 'v7'
  return spelled === DEFAULT_VARIANTS.get(architecture) ? '' : spelled
}

const DEFAULT_VARIANTS: ReadonlyMap<string, string> = new Map([
  ['amd64', 'v1'],
  ['arm64', 'v8'],
])

/** Names by their GOARCH; those with a variant mean just that one. */
const ALIASES: ReadonlyMap<string, Processor> = new Map([
  ['amd64', { architecture: 'amd64', variant: '' }],
  ['x86_64', { architecture: 'amd64', variant: '' }],
  ['x86-64', { architecture: 'amd64', variant: '' }],
  ['arm64', { architecture: 'arm64', variant: '' }],
  ['aarch64', { architecture: 'arm64', variant: '' }],
  ['arm', { architecture: 'arm', variant: '' }],
  ['armhf', { architecture: 'arm', variant: 'v7' }],
  ['armel', { architecture: 'arm', variant: 'v6' }],
  ['386', { architecture: '386', variant: '' }],
  ['i386', { architecture: '386', variant: '' }],
  ['i486', { architecture: '386', variant: '' }],
  ['i586', { architecture: '386', variant: '' }],
  ['i686', { architecture: '386', variant: '' }],
])
