// What the annotations of a layer's descriptor say of a table of contents inside its blob (checklist F-001 to F-004, F-010, F-030,
// F-036). Only those of a manifest whose digest was verified count: what they name is then as good as the manifest.
//
//   containerd.io/snapshot/stargz/toc.digest            eStargz, gzip: digest of the JSON; the footer of the blob says where it is
//   io.github.containers.zstd-chunked.manifest-…        zstd:chunked: digest of the packed JSON, and where it is
//   io.containers.zstd-chunked.manifest-…               the same, by older writers and stargz-snapshotter; that adds the first one

import { digestProblem, isSupportedDigest, parseDigest, type Digest } from './digest.js'
import { quote } from './quote.js'

/** Where a packed table of contents lies in a blob. */
export interface TocPosition {
  readonly offset: number
  readonly length: number
  /** Length of the JSON. */
  readonly jsonLength: number
}

/** A table of contents that the manifest vouches for. */
export type LazyIndex =
  | { readonly format: 'estargz'; readonly tocDigest: Digest }
  | { readonly format: 'zstd:chunked'; readonly tocDigest: Digest; readonly position: TocPosition }

/** What the annotations come to: an index, or why there is none although there are annotations. */
export type LazyClaim =
  { readonly index: LazyIndex } | { readonly problem: string; readonly isRefused: boolean }

export const STARGZ_TOC_DIGEST = 'containerd.io/snapshot/stargz/toc.digest'
const ZSTD_PREFIXES = ['io.github.containers.zstd-chunked', 'io.containers.zstd-chunked']

/** Reads the annotations of a layer; undefined where none of them is about a table of contents. */
export function findLazyIndex(annotations: ReadonlyMap<string, string>): LazyClaim | undefined {
  const stargz = annotations.get(STARGZ_TOC_DIGEST)
  const prefixes = ZSTD_PREFIXES.filter((prefix) => annotations.has(`${prefix}.manifest-checksum`))
  const [prefix] = prefixes
  if (prefixes.length > 1 || (stargz !== undefined && prefix === ZSTD_PREFIXES[0])) {
    // Two tables can say two things, and who reads which is anybody's guess (F-002).
    return { problem: 'its annotations name two tables of contents', isRefused: true }
  }
  const name = prefix === undefined ? STARGZ_TOC_DIGEST : `${prefix}.manifest-checksum`
  const text = annotations.get(name)
  if (text === undefined) return undefined
  const why = digestProblem(text)
  if (why !== undefined) return useless(`its annotation ${name} is ${quote(text)}: ${why}`)
  const tocDigest = parseDigest(text)
  if (!isSupportedDigest(tocDigest)) return useless(`its annotation ${name} cannot be verified`)
  if (prefix === undefined) return { index: { format: 'estargz', tocDigest } }
  const place = annotations.get(`${prefix}.manifest-position`)
  const position = parsePosition(place ?? '')
  if (position === undefined) {
    return useless(`its annotation ${prefix}.manifest-position is ${quote(place ?? '')}`)
  }
  return { index: { format: 'zstd:chunked', tocDigest, position } }
}

function useless(problem: string): LazyClaim {
  return { problem, isRefused: false }
}

function parsePosition(text: string): TocPosition | undefined {
  const match = /^(\d{1,15}):(\d{1,15}):(\d{1,15}):1$/.exec(text)
  if (match === null) return undefined
  const [offset = 0, length = 0, jsonLength = 0] = match.slice(1).map(Number)
  return { offset, length, jsonLength }
}
