// Tells what a set of files is (checklist D-040) and what images it names.

import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import type { Digest } from '../image/digest.js'
import { digestOf } from '../image/digest.js'
import type { Descriptor } from '../image/descriptor.js'
import { parseDockerManifest } from '../image/docker-archive.js'
import { parseImageIndex, parseManifestOrIndex } from '../image/image-index.js'
import {
  LAYOUT_HEADER_FILE,
  LAYOUT_INDEX_FILE,
  layoutBlobPath,
  parseLayoutHeader,
} from '../image/layout.js'
import {
  MAX_DOCKER_MANIFEST_SIZE,
  MAX_LAYOUT_HEADER_SIZE,
  MAX_MANIFEST_SIZE,
} from '../image/limits.js'
import type { Transport } from '../reference/reference.js'
import { Documents } from './documents.js'
import type { FileTree } from './file-tree.js'
import { rootsOfIndex } from './index-roots.js'
import { rootsOfItems, uniteRoots } from './docker-roots.js'
import { dirBlobNames } from './layer-blobs.js'
import { notAnImage } from './not-an-image.js'
import type { Root, SourceKind } from './root.js'

export interface OpenedSource {
  readonly kind: SourceKind
  readonly documents: Documents
  readonly roots: readonly Root[]
  /** Deviations of index.json from the specification. */
  readonly warnings: readonly string[]
}

/**
 * Finds out what a tree holds.
 *
 * An archive of Docker 25 and later is a layout and a docker-archive at once: the union of both counts.
 *
 * @throws OcimountError `IMAGE_INVALID` or `IMAGE_UNSUPPORTED` saying what the tree is instead of an image; as the
 *   parsers of the documents
 */
export async function openSource(tree: FileTree, transport?: Transport): Promise<OpenedSource> {
  const header = await readDocument(tree, LAYOUT_HEADER_FILE, MAX_LAYOUT_HEADER_SIZE)
  const manifest = await readDocument(tree, 'manifest.json', MAX_DOCKER_MANIFEST_SIZE)
  const isList = manifest !== undefined && /^[ \t\r\n]*\[/.test(manifest.toString('latin1', 0, 64))
  let source: OpenedSource
  if (header !== undefined) {
    source = await openLayout(tree, header, isList ? manifest : undefined, transport)
  } else if (manifest === undefined) throw await notAnImage(tree)
  else source = isList ? openDocker(tree, manifest) : await openDir(tree, manifest)
  refuseOther(source, transport)
  return source
}

async function openLayout(
  tree: FileTree,
  header: Buffer,
  manifest: Buffer | undefined,
  transport: Transport | undefined,
): Promise<OpenedSource> {
  parseLayoutHeader(header)
  const documents = new Documents(tree, layoutBlobNames)
  const index = await documents.readNamed(LAYOUT_INDEX_FILE, MAX_MANIFEST_SIZE)
  if (index === undefined) throw await notAnImage(tree)
  const { manifests, warnings } = parseImageIndex(index)
  const roots = rootsOfIndex(manifests)
  const kind = tree.isArchive ? 'oci-archive' : 'oci'
  if (manifest === undefined) return { kind, documents, roots, warnings }
  const items = parseDockerManifest(manifest)
  // Who asks for the layout by its prefix counts positions in index.json, as skopeo does.
  const isLayoutMeant = transport === 'oci' || transport === 'oci-archive'
  const numbering = isLayoutMeant ? 'entries' : 'items'
  const united = await uniteRoots(documents, roots, items, numbering)
  return { kind: isLayoutMeant ? kind : 'docker-archive', documents, roots: united, warnings }
}

function openDocker(tree: FileTree, manifest: Buffer): OpenedSource {
  const documents = new Documents(tree, layoutBlobNames)
  const roots = rootsOfItems(parseDockerManifest(manifest))
  return { kind: 'docker-archive', documents, roots, warnings: [] }
}

async function openDir(tree: FileTree, bytes: Buffer): Promise<OpenedSource> {
  const documents = new Documents(tree, dirBlobNames)
  const version = await documents.readNamed('version', MAX_LAYOUT_HEADER_SIZE)
  const number = /^Directory Transport Version: ([0-9]+)\./.exec(version?.toString() ?? '')?.[1]
  if (number !== undefined && number !== '1') {
    const path = escapeText(tree.path)
    const message = `Cannot use ${path} as an image: it is of version ${number} of the dir: format`
    throw new OcimountError('IMAGE_UNSUPPORTED', message)
  }
  const parsed = parseManifestOrIndex(bytes)
  const mediaType = 'manifest' in parsed ? parsed.manifest.mediaType : parsed.index.mediaType
  const descriptor: Descriptor = {
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
    annotations: new Map(),
    // The one document without a name of its own: what was read is what it is.
    data: bytes,
  }
  const root = { names: [], aliases: [], positions: [0], descriptor, item: undefined }
  return { kind: 'dir', documents, roots: [root], warnings: [] }
}

async function readDocument(
  tree: FileTree,
  name: string,
  limit: number,
): Promise<Buffer | undefined> {
  return new Documents(tree, layoutBlobNames).readNamed(name, limit)
}

function layoutBlobNames(digest: Digest): readonly string[] {
  return [layoutBlobPath(digest)]
}

/** Refuses what a prefix did not ask for; a directory and an archive of the same files are told apart as well. */
function refuseOther({ kind, documents: { tree } }: OpenedSource, wanted?: Transport): void {
  if (wanted === undefined || wanted === kind) return
  let found = kind === 'dir' && tree.isArchive ? 'an archive of a dir:' : `of the kind ${kind}:`
  if (kind === 'docker-archive' && !tree.isArchive) found = 'an extracted docker-archive'
  const path = escapeText(tree.path)
  const message = `Cannot use ${path} as ${wanted}: it is ${found}`
  throw new OcimountError('IMAGE_INVALID', message)
}
