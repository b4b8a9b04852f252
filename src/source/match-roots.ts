// What a `--ref` or the selector behind a path means among the roots of a source (checklist A-151…A-155, D-012, D-013).

import { isOcimountError } from '../errors.js'
import type { Descriptor } from '../image/descriptor.js'
import { normalizeName } from '../reference/reference.js'
import { parseSelector } from '../reference/selector.js'
import { attempt } from './attempt.js'
import type { Documents } from './documents.js'
import { readItemConfig, readManifest } from './image-documents.js'
import { findLeaves } from './leaves.js'
import type { Root } from './root.js'

/** A root, or one manifest below it. */
export interface Match {
  readonly root: Root
  /** The manifest that was meant, whatever its platform; undefined when the whole root was. */
  readonly leaf: Descriptor | undefined
}

/**
 * Finds what a selector means.
 *
 * `@N` is a position, `[NAME]@sha256:…` the digest of a manifest or index, anything else a name: as it is
 * written, else by its normal form (`busybox` is `docker.io/library/busybox:latest`), else an image id or the
 * beginning of one.
 *
 * @throws OcimountError `REFERENCE_INVALID` for an `@` with neither number nor digest
 */
export async function matchRoots(
  documents: Documents,
  roots: readonly Root[],
  ref: string,
): Promise<readonly Match[]> {
  const selector = parseSelector(ref)
  if (selector.kind === 'index') {
    return whole(roots, (root) => root.positions.includes(selector.index))
  }
  const { name, digest } = splitDigest(ref)
  const named = name === '' ? whole(roots, () => true) : matchName(roots, name)
  if (digest !== undefined) return matchDigest(documents, named, digest)
  return named.length > 0 ? named : matchImageId(documents, roots, ref)
}

/** Gives a name's normal form, or undefined where it has none. */
export function normalForm(name: string): string | undefined {
  try {
    return normalizeName(name)
  } catch (error) {
    // An annotation may hold any text; it is then compared as it is (checklist A-154).
    if (isOcimountError(error, 'REFERENCE_INVALID')) return undefined
    throw error
  }
}

function matchName(roots: readonly Root[], name: string): Match[] {
  const exact = whole(roots, ({ names, aliases }) => names.includes(name) || aliases.includes(name))
  const wanted = exact.length > 0 ? undefined : normalForm(name)
  if (wanted === undefined) return exact
  return whole(roots, ({ names }) => names.some((other) => normalForm(other) === wanted))
}

async function matchDigest(
  documents: Documents,
  matches: readonly Match[],
  digest: string,
): Promise<Match[]> {
  const direct = matches.filter(({ root }) => root.descriptor?.digest === digest)
  if (direct.length > 0) return direct
  const found: Match[] = []
  for (const { root } of matches) {
    if (root.descriptor === undefined) continue
    const below = await attempt(findLeaves(documents, root.descriptor))
    const leaf = below?.leaves.find((candidate) => candidate.digest === digest)
    if (leaf !== undefined) found.push({ root, leaf })
  }
  return found.slice(0, 1)
}

async function matchImageId(
  documents: Documents,
  roots: readonly Root[],
  ref: string,
): Promise<Match[]> {
  const prefix = /^(?:sha256:)?([0-9a-f]{4,64})$/.exec(ref)?.[1]
  if (prefix === undefined) return []
  const found = new Map<string, Match>()
  for (const root of roots) {
    for (const { id, leaf } of await imageIds(documents, root)) {
      if (id.startsWith(`sha256:${prefix}`) && !found.has(id)) found.set(id, { root, leaf })
    }
  }
  return [...found.values()]
}

async function imageIds(
  documents: Documents,
  { item, descriptor }: Root,
): Promise<{ id: string; leaf: Descriptor | undefined }[]> {
  if (item !== undefined) {
    const config = await attempt(readItemConfig(documents, item))
    return config === undefined ? [] : [{ id: config.digest, leaf: undefined }]
  }
  if (descriptor === undefined) return []
  const ids: { id: string; leaf: Descriptor }[] = []
  for (const leaf of (await attempt(findLeaves(documents, descriptor)))?.leaves ?? []) {
    const document = await attempt(readManifest(documents, leaf))
    if (document !== undefined) ids.push({ id: document.manifest.config.digest, leaf })
  }
  return ids
}

function whole(roots: readonly Root[], isMeant: (root: Root) => boolean): Match[] {
  return roots.filter(isMeant).map((root) => ({ root, leaf: undefined }))
}

/** Splits `name@algorithm:encoded`; a name of its own may hold an `@` (checklist A-154). */
function splitDigest(ref: string): { name: string; digest: string | undefined } {
  const match = /^(.*)@([a-z0-9+._-]+:[A-Za-z0-9=_-]{32,})$/.exec(ref)
  return { name: match?.[1] ?? ref, digest: match?.[2] }
}
