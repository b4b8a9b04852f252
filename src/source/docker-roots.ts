// The roots of a docker-archive, and of the two descriptions that an archive of Docker 25 and later holds of the
// same images: index.json, which lacks an untagged image that was saved after a tagged one, and manifest.json.

import { escapeText } from '../byte-string.js'
import { OcimountError, isOcimountError } from '../errors.js'
import type { DockerArchiveItem } from '../image/docker-archive.js'
import { attempt } from './attempt.js'
import type { Documents } from './documents.js'
import { digestInName, readItemConfig, readManifest } from './image-documents.js'
import { findLeaves } from './leaves.js'
import { normalForm } from './match-roots.js'
import type { Root } from './root.js'

/** Makes one root of all items that name the same config (checklist D-015). */
export function rootsOfItems(items: readonly DockerArchiveItem[]): Root[] {
  const byConfig = new Map<string, Root>()
  for (const [position, item] of items.entries()) {
    const earlier = byConfig.get(item.config)
    byConfig.set(item.config, {
      names: [...new Set([...(earlier?.names ?? []), ...item.repoTags])],
      aliases: [],
      positions: [...(earlier?.positions ?? []), position],
      descriptor: undefined,
      item: earlier?.item ?? item,
    })
  }
  return [...byConfig.values()]
}

/**
 * Joins the roots of index.json with the items of manifest.json (checklist D-020 to D-024).
 *
 * An item belongs to the root that leads to its config; one that none leads to is a root of its own.
 *
 * @param numbering whose positions `@N` counts: those of the entries of index.json or of the items. What has
 *   no number there gets one behind the others.
 * @throws OcimountError `IMAGE_INVALID` when the two mean different images by one name; as {@link findLeaves}
 */
export async function uniteRoots(
  documents: Documents,
  entries: readonly Root[],
  items: readonly DockerArchiveItem[],
  numbering: 'entries' | 'items',
): Promise<Root[]> {
  const itemRoots = rootsOfItems(items)
  const below = await Promise.all(entries.map((root) => configsBelow(documents, root)))
  const itemsOf = entries.map((): Root[] => [])
  const others: Root[] = []
  for (const itemRoot of itemRoots) {
    const config = await configOf(documents, itemRoot)
    const index = config === undefined ? -1 : below.findIndex(({ configs }) => configs.has(config))
    refuseNamesakes(documents, { root: itemRoot, config }, entries, below)
    if (index === -1) others.push(itemRoot)
    else itemsOf[index]?.push(itemRoot)
  }
  const united = entries.map((root, index) => {
    const same = itemsOf[index] ?? []
    return {
      root: { ...root, names: unitedNames(root, same) },
      positions:
        numbering === 'entries' ? root.positions : same.flatMap(({ positions }) => positions),
    }
  })
  const rest = others.map((root) => ({
    root,
    positions: numbering === 'entries' ? [] : root.positions,
  }))
  return numbered([...united, ...rest])
}

function numbered(
  list: readonly { readonly root: Root; readonly positions: readonly number[] }[],
): Root[] {
  let next = Math.max(0, ...list.flatMap(({ positions }) => positions.map((n) => n + 1)))
  return list
    .map(({ root, positions }) => ({
      ...root,
      positions: positions.length > 0 ? positions : [next++],
    }))
    .sort((a, b) => (a.positions[0] ?? 0) - (b.positions[0] ?? 0))
}

/** Names that differ in spelling alone count once, in the spelling of index.json. */
function unitedNames(entry: Root, items: readonly Root[]): readonly string[] {
  const known = new Set(entry.names.map((name) => normalForm(name) ?? name))
  // The bare tag that stands for a name where there is no better one is none beside a full name.
  const names = entry.names.filter((name) => !entry.aliases.includes(name) || items.length === 0)
  for (const { names: tags } of items) {
    for (const tag of tags) {
      const form = normalForm(tag) ?? tag
      if (!known.has(form) || names.length === 0) names.push(tag)
      known.add(form)
    }
  }
  return names.length > 0 ? names : entry.names
}

/**
 * Refuses an item when the entries of its name all lead elsewhere: one name must mean one image, whichever list
 * a program reads (checklist D-021).
 */
function refuseNamesakes(
  documents: Documents,
  item: { readonly root: Root; readonly config: string | undefined },
  entries: readonly Root[],
  below: readonly Below[],
): void {
  for (const tag of item.root.names) {
    const form = normalForm(tag) ?? tag
    const namesakes = below.filter((_, index) =>
      entries[index]?.names.some((name) => (normalForm(name) ?? name) === form),
    )
    const { config } = item
    if (namesakes.length === 0) continue
    if (config !== undefined && namesakes.some(({ configs }) => configs.has(config))) continue
    // A manifest that cannot be read is the better explanation.
    const problem = namesakes.find((namesake) => namesake.problem !== undefined)?.problem
    if (problem !== undefined) throw problem
    throw new OcimountError(
      'IMAGE_INVALID',
      `Cannot use ${escapeText(documents.tree.path)}: its index.json and manifest.json mean different images by ${escapeText(tag)}`,
      { details: { name: tag } },
    )
  }
}

interface Below {
  readonly configs: ReadonlySet<string>
  /** Why the first of the manifests that could not be read could not. */
  readonly problem: OcimountError | undefined
}

/** Gives the digests of all configs that a root leads to, as far as their manifests are there (D-025). */
async function configsBelow(documents: Documents, { descriptor }: Root): Promise<Below> {
  const configs = new Set<string>()
  let problem: OcimountError | undefined
  const note = (error: unknown): undefined => {
    if (!isOcimountError(error)) throw error
    problem ??= error
  }
  if (descriptor === undefined) return { configs, problem }
  const found = await findLeaves(documents, descriptor).catch(note)
  for (const leaf of found?.leaves ?? []) {
    const document = await readManifest(documents, leaf).catch(note)
    if (document !== undefined) configs.add(document.manifest.config.digest)
  }
  return { configs, problem }
}

async function configOf(documents: Documents, { item }: Root): Promise<string | undefined> {
  if (item === undefined) return undefined
  return digestInName(item.config) ?? (await attempt(readItemConfig(documents, item)))?.digest
}
