// Builds the blobs and documents of images for tests from layer tars and a config; write-image.ts lays
// them out in every form that tools write. Nothing here is the code under test; everything is deterministic.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'

export type LayerCompression = 'none' | 'gzip' | 'zstd'

/** A layer: its tar, and how a registry would store it. */
export interface LayerSpec {
  readonly tar: Buffer
  readonly compression?: LayerCompression
  /** Instead of the one that fits the compression. */
  readonly mediaType?: string
  /** Instead of what the compression makes of the tar. */
  readonly stored?: Buffer
  /** Of its descriptor. */
  readonly annotations?: Readonly<Record<string, string>>
}

export interface PlatformSpec {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
}

export interface ImageSpec {
  readonly layers: readonly (Buffer | LayerSpec)[]
  /** Fields over the default config; `rootfs` too, when a test wants a wrong one. */
  readonly config?: Readonly<Record<string, unknown>>
  readonly platform?: PlatformSpec
  /** `name:tag` as a user types it. */
  readonly tags?: readonly string[]
  /** Documents and media types in Docker's dialect. */
  readonly docker?: boolean
  /** Fields over the manifest. */
  readonly manifest?: Readonly<Record<string, unknown>>
  /** Fields over the descriptor that points to the manifest; `platform: undefined` removes it. */
  readonly descriptor?: Readonly<Record<string, unknown>>
}

/** An index that points to images or further indexes. */
export interface IndexSpec {
  readonly index: readonly (ImageSpec | IndexSpec)[]
  readonly tags?: readonly string[]
  readonly docker?: boolean
  readonly descriptor?: Readonly<Record<string, unknown>>
}

export interface BuiltLayer {
  readonly tar: Buffer
  readonly diffId: string
  /** The bytes as stored in a layout. */
  readonly stored: Buffer
  readonly digest: string
  readonly mediaType: string
  readonly annotations: Readonly<Record<string, string>> | undefined
}

export interface BuiltImage {
  readonly kind: 'image'
  readonly tags: readonly string[]
  readonly layers: readonly BuiltLayer[]
  readonly config: Buffer
  readonly configDigest: string
  readonly manifest: Buffer
  readonly manifestDigest: string
  /** Points to the manifest; as JSON. */
  readonly descriptor: Readonly<Record<string, unknown>>
}

export interface BuiltIndex {
  readonly kind: 'index'
  readonly tags: readonly string[]
  readonly children: readonly (BuiltImage | BuiltIndex)[]
  readonly document: Buffer
  readonly descriptor: Readonly<Record<string, unknown>>
}

/** Gives `sha256:<hex>`. */
export function sha256(bytes: Buffer | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** Compresses in the way registries hold layers; zstd by the program of that name. */
export function compress(bytes: Buffer, kind: LayerCompression): Buffer {
  if (kind === 'none') return bytes
  if (kind === 'gzip') return gzipSync(bytes, { level: 6 })
  const maxBuffer = bytes.length * 2 + 1024
  return execFileSync('zstd', ['-q', '-3', '-c'], { input: bytes, maxBuffer })
}

/** Tells why zstd cannot be tested here, or gives false: the `skip` of a test. */
export function zstdMissing(): string | false {
  try {
    execFileSync('zstd', ['--version'], { stdio: 'ignore' })
    return false
  } catch {
    return 'the zstd program is not installed'
  }
}

/** Builds layers, config, manifest and descriptor of one image. */
export function buildImage(spec: ImageSpec): BuiltImage {
  const dialect = spec.docker === true ? DOCKER : OCI
  const layers = spec.layers.map((layer) => buildLayer(layer, dialect))
  const platform = spec.platform ?? { os: 'linux', architecture: 'amd64' }
  const config = json({
    ...platform,
    created: '2024-01-02T03:04:05Z',
    config: {},
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((_, n) => ({ created_by: `layer ${n}` })),
    ...spec.config,
  })
  const manifest = json({
    schemaVersion: 2,
    mediaType: dialect.manifest,
    config: descriptorOf(dialect.config, config),
    layers: layers.map(({ mediaType, stored, annotations }) => ({
      ...descriptorOf(mediaType, stored),
      ...(annotations === undefined ? {} : { annotations }),
    })),
    ...spec.manifest,
  })
  return {
    kind: 'image',
    tags: spec.tags ?? [],
    layers,
    config,
    configDigest: sha256(config),
    manifest,
    manifestDigest: sha256(manifest),
    descriptor: { ...descriptorOf(dialect.manifest, manifest), platform, ...spec.descriptor },
  }
}

/** Builds an index over images; children are found in `children`. */
export function buildIndex(spec: IndexSpec): BuiltIndex {
  const mediaType = spec.docker === true ? DOCKER.index : OCI.index
  const children = spec.index.map(buildAny)
  const manifests = children.map((child) => child.descriptor)
  const document = json({ schemaVersion: 2, mediaType, manifests })
  const descriptor = { ...descriptorOf(mediaType, document), ...spec.descriptor }
  return { kind: 'index', tags: spec.tags ?? [], children, document, descriptor }
}

/** Builds whichever of the two it is. */
export function buildAny(spec: ImageSpec | IndexSpec): BuiltImage | BuiltIndex {
  return 'index' in spec ? buildIndex(spec) : buildImage(spec)
}

/** Gives the images under an image or index, in order. */
export function imagesOf(built: BuiltImage | BuiltIndex): BuiltImage[] {
  return built.kind === 'image' ? [built] : built.children.flatMap(imagesOf)
}

/** Serialises as the documents of images are: no spaces. */
export function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

/** Gives `{mediaType, digest, size}` of some bytes. */
export function descriptorOf(mediaType: string, bytes: Buffer): Record<string, unknown> {
  return { mediaType, digest: sha256(bytes), size: bytes.length }
}

/** Gives the part of a digest after the colon. */
export function hex(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1)
}

/** Gives where a layout keeps a blob. */
export function blobPath(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`
}

/** The media types that a family of tools writes. */
export interface Dialect {
  readonly manifest: string
  readonly index: string
  readonly config: string
  readonly layer: Readonly<Record<LayerCompression, string>>
}

export const OCI: Dialect = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: {
    none: 'application/vnd.oci.image.layer.v1.tar',
    gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
    zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  },
}

const DOCKER: Dialect = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: {
    none: 'application/vnd.docker.image.rootfs.diff.tar',
    gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
    zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
  },
}

function buildLayer(layer: Buffer | LayerSpec, dialect: Dialect): BuiltLayer {
  const spec = Buffer.isBuffer(layer) ? { tar: layer } : layer
  const compression = spec.compression ?? 'none'
  const stored = spec.stored ?? compress(spec.tar, compression)
  return {
    tar: spec.tar,
    diffId: sha256(spec.tar),
    stored,
    digest: sha256(stored),
    mediaType: spec.mediaType ?? dialect.layer[compression],
    annotations: spec.annotations,
  }
}
