// Lays out built images in every form that tools write: OCI layouts and archives, the archives of
// `docker save` and podman, skopeo's `dir:`. A test may tamper with the members before they are packed.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import {
  OCI,
  blobPath,
  compress,
  descriptorOf,
  hex,
  imagesOf,
  json,
  sha256,
} from './build-image.js'
import type { BuiltImage, BuiltIndex } from './build-image.js'
import { file, packMembers, writeMembers } from './tar-members.js'
import type { Member, PackOptions } from './tar-members.js'

export type ImageForm =
  'oci' | 'oci-archive' | 'docker-24' | 'docker-25' | 'podman' | 'dir' | 'docker-24-extracted'

export interface WriteImageOptions {
  readonly form: ImageForm
  /** Compresses the whole archive. */
  readonly wrap?: 'gzip' | 'zstd'
  /** Changes the members before they are packed or written. */
  readonly tamper?: (members: Member[]) => readonly Member[]
  readonly pack?: PackOptions
}

/** Lays out an OCI image layout: `oci-layout`, `index.json`, `blobs/`. */
export function ociMembers(items: readonly (BuiltImage | BuiltIndex)[]): Member[] {
  const manifests = items.flatMap((item) =>
    item.tags.length === 0
      ? [item.descriptor]
      : item.tags.map((tag) => annotate(item.descriptor, { [REF_NAME]: tag })),
  )
  return [
    file('oci-layout', '{"imageLayoutVersion":"1.0.0"}'),
    { path: 'blobs', type: 'directory' },
    { path: 'blobs/sha256', type: 'directory' },
    ...blobMembers(items.flatMap(blobsOf)),
    file('index.json', json({ schemaVersion: 2, mediaType: OCI.index, manifests })),
  ]
}

/** Lays out what `docker save` of Docker up to 24 writes. Layers are plain; a repeated one is a symlink. */
export function docker24Members(images: readonly BuiltImage[]): Member[] {
  const members = new Map<string, Member>()
  const put = (member: Member): unknown => members.set(member.path, member)
  const firstById = new Map<string, string>()
  const items = images.map((image) => {
    let parent = ''
    const layers = image.layers.map((layer, n) => {
      const seed = n === image.layers.length - 1 ? image.configDigest : ''
      const id = hex(sha256(`${parent} ${layer.diffId} ${seed}`))
      put({ path: id, type: 'directory' })
      put(file(`${id}/VERSION`, '1.0'))
      put(file(`${id}/json`, json(parent === '' ? { id } : { id, parent })))
      const first = firstById.get(layer.diffId) ?? id
      firstById.set(layer.diffId, first)
      const path = `${id}/layer.tar`
      if (first === id) put(file(path, layer.tar))
      else put({ path, type: 'symlink', target: `../${first}/layer.tar` })
      parent = id
      return path
    })
    const config = `${hex(image.configDigest)}.json`
    put(file(config, image.config))
    return { Config: config, RepoTags: tagsOrNull(image), Layers: layers }
  })
  put(file('manifest.json', json(items)))
  put(file('repositories', json(repositories(images))))
  return [...members.values()]
}

/**
 * Lays out what `docker save` of Docker 25 and later writes: a layout and `manifest.json` in one.
 *
 * An untagged image is listed in `index.json` only while that is empty, as the writer does (D-024).
 */
export function docker25Members(images: readonly BuiltImage[]): Member[] {
  const manifests: unknown[] = []
  for (const image of images) {
    for (const tag of image.tags) {
      const names = { [CONTAINERD_NAME]: fullName(tag), [REF_NAME]: tag.split(':').at(-1) ?? tag }
      manifests.push(annotate(image.descriptor, names))
    }
    if (image.tags.length === 0 && manifests.length === 0) manifests.push(image.descriptor)
  }
  const items = images.map((image) => ({
    Config: blobPath(image.configDigest),
    RepoTags: tagsOrNull(image),
    Layers: image.layers.map((layer) => blobPath(layer.digest)),
    LayerSources: Object.fromEntries(
      image.layers.map((layer) => [layer.diffId, descriptorOf(layer.mediaType, layer.stored)]),
    ),
  }))
  return [
    { path: 'blobs', type: 'directory' },
    { path: 'blobs/sha256', type: 'directory' },
    ...blobMembers(images.flatMap(blobsOf)),
    file('index.json', json({ schemaVersion: 2, mediaType: OCI.index, manifests })),
    file('manifest.json', json(items)),
    file('oci-layout', '{"imageLayoutVersion": "1.0.0"}'),
    file('repositories', json(repositories(images))),
  ]
}

/** Lays out what `podman save` and `skopeo copy … docker-archive:` write. */
export function podmanMembers(images: readonly BuiltImage[]): Member[] {
  const members = new Map<string, Member>()
  const put = (member: Member): unknown => members.set(member.path, member)
  const items = images.map((image) => {
    const layers = image.layers.map((layer) => {
      const path = `${hex(layer.diffId)}.tar`
      put(file(path, layer.tar))
      return path
    })
    for (const [n, layer] of image.layers.entries()) {
      const id = hex(sha256(`${image.configDigest} ${n}`))
      put(file(`${id}/VERSION`, '1.0'))
      put({ path: `${id}/layer.tar`, type: 'symlink', target: `../${hex(layer.diffId)}.tar` })
      put(file(`${id}/json`, json({ id })))
    }
    const config = `${hex(image.configDigest)}.json`
    put(file(config, image.config))
    const tags = image.tags.map(fullName)
    return { Config: config, RepoTags: tags, Layers: layers }
  })
  put(file('repositories', json(repositories(images))))
  put(file('manifest.json', json(items)))
  return [...members.values()]
}

/** Lays out what `skopeo copy … dir:` writes. */
export function dirMembers(item: BuiltImage | BuiltIndex): Member[] {
  const images = imagesOf(item)
  const members = new Map<string, Member>()
  const put = (member: Member): unknown => members.set(member.path, member)
  put(file('version', 'Directory Transport Version: 1.1\n'))
  for (const image of images) {
    put(file(hex(image.configDigest), image.config))
    for (const layer of image.layers) put(file(hex(layer.digest), layer.stored))
    if (item.kind === 'index')
      put(file(`${hex(image.manifestDigest)}.manifest.json`, image.manifest))
  }
  put(file('manifest.json', item.kind === 'index' ? item.document : item.manifest))
  return [...members.values()]
}

/** Gives the members of any form. */
export function membersOf(
  items: readonly (BuiltImage | BuiltIndex)[],
  form: ImageForm,
): readonly Member[] {
  const images = items.flatMap(imagesOf)
  switch (form) {
    case 'oci':
    case 'oci-archive':
      return ociMembers(items)
    case 'docker-24':
    case 'docker-24-extracted':
      return docker24Members(images)
    case 'docker-25':
      return docker25Members(images)
    case 'podman':
      return podmanMembers(images)
    case 'dir':
      if (items.length !== 1 || items[0] === undefined) throw new Error('dir: holds one image')
      return dirMembers(items[0])
  }
}

/** Writes images to `path` in the wanted form, a directory or an archive, and gives `path`. */
export function writeImage(
  path: string,
  items: readonly (BuiltImage | BuiltIndex)[],
  options: WriteImageOptions,
): string {
  const plain = membersOf(items, options.form)
  const members = options.tamper === undefined ? plain : options.tamper([...plain])
  if (options.form === 'oci' || options.form === 'dir' || options.form === 'docker-24-extracted') {
    return writeMembers(path, members)
  }
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, compress(packMembers(members, options.pack), options.wrap ?? 'none'))
  return path
}

/** The annotations that carry names. */
export const REF_NAME = 'org.opencontainers.image.ref.name'
export const CONTAINERD_NAME = 'io.containerd.image.name'

function blobsOf(item: BuiltImage | BuiltIndex): Buffer[] {
  if (item.kind === 'index') return [...item.children.flatMap(blobsOf), item.document]
  return [...item.layers.map((layer) => layer.stored), item.config, item.manifest]
}

function blobMembers(blobs: readonly Buffer[]): Member[] {
  return [...new Map(blobs.map((bytes) => [blobPath(sha256(bytes)), bytes]))].map(([path, bytes]) =>
    file(path, bytes),
  )
}

function annotate(
  descriptor: Readonly<Record<string, unknown>>,
  annotations: Readonly<Record<string, string>>,
): Record<string, unknown> {
  const own = descriptor['annotations'] as Record<string, string> | undefined
  return { ...descriptor, annotations: { ...own, ...annotations } }
}

function tagsOrNull(image: BuiltImage): readonly string[] | null {
  return image.tags.length === 0 ? null : image.tags
}

function repositories(images: readonly BuiltImage[]): Record<string, Record<string, string>> {
  const found: Record<string, Record<string, string>> = {}
  for (const image of images) {
    for (const tag of image.tags) {
      const colon = tag.lastIndexOf(':')
      const name = found[tag.slice(0, colon)] ?? {}
      name[tag.slice(colon + 1)] = hex(sha256(image.configDigest))
      found[tag.slice(0, colon)] = name
    }
  }
  return found
}

function fullName(tag: string): string {
  const first = tag.split('/')[0] ?? ''
  if (tag.includes('/') && /[.:]|^localhost$/.test(first)) return tag
  return `docker.io/${tag.includes('/') ? '' : 'library/'}${tag}`
}
