// The media types that an image may be made of: OCI, Docker schema 2, and the names that were used before 1.0.

const OCI = 'application/vnd.oci.'
const DOCKER = 'application/vnd.docker.'

export const OCI_MANIFEST = `${OCI}image.manifest.v1+json`
export const OCI_INDEX = `${OCI}image.index.v1+json`
export const OCI_CONFIG = `${OCI}image.config.v1+json`
export const OCI_EMPTY = `${OCI}empty.v1+json`
export const OCI_LAYER = `${OCI}image.layer.v1.tar`
export const OCI_LAYER_GZIP = `${OCI}image.layer.v1.tar+gzip`
export const OCI_LAYER_ZSTD = `${OCI}image.layer.v1.tar+zstd`
export const DOCKER_MANIFEST = `${DOCKER}distribution.manifest.v2+json`
export const DOCKER_MANIFEST_LIST = `${DOCKER}distribution.manifest.list.v2+json`
export const DOCKER_CONFIG = `${DOCKER}container.image.v1+json`
/** Promises plain tar, often is not; only looking at the bytes tells (checklist A-007). */
export const DOCKER_LAYER = `${DOCKER}image.rootfs.diff.tar`
export const DOCKER_LAYER_GZIP = `${DOCKER}image.rootfs.diff.tar.gzip`

/** What a blob of some media type is good for; `unknown` is not an error until the blob is needed. */
export type MediaTypeRole =
  | 'manifest'
  | 'index'
  | 'config'
  | 'layer'
  | 'empty'
  | 'schema1'
  | 'artifact-manifest'
  | 'plugin-config'
  | 'unknown'

/** Tells the role of a media type. Comparison is exact; {@link normalizeMediaType} is for HTTP headers. */
export function classifyMediaType(mediaType: string): MediaTypeRole {
  return ROLES.get(mediaType) ?? (layerSupport(mediaType) === 'unknown' ? 'unknown' : 'layer')
}

/**
 * How far a layer of some media type can be used.
 *
 * `layer`: a tar, compressed or not. `foreign-ok`: the same, but marked as not distributable, so that it may
 * have to be fetched from the descriptor's `urls`. `encrypted`: an ocicrypt layer. `erofs`: a filesystem image
 * in place of a tar. `unknown`: anything else.
 */
export type LayerSupport = 'layer' | 'foreign-ok' | 'encrypted' | 'erofs' | 'unknown'

/** Tells how far a layer of this media type can be used. */
export function layerSupport(mediaType: string): LayerSupport {
  if (mediaType.endsWith('+encrypted')) {
    const inner = layerSupport(mediaType.slice(0, -'+encrypted'.length))
    return inner === 'layer' || inner === 'foreign-ok' ? 'encrypted' : 'unknown'
  }
  return LAYERS.get(mediaType) ?? 'unknown'
}

/** Says why a tree cannot be built from a layer of this media type; undefined when it can. */
export function unsupportedLayerReason(mediaType: string): string | undefined {
  switch (layerSupport(mediaType)) {
    case 'layer':
    case 'foreign-ok':
      return undefined
    case 'encrypted':
      return 'it is encrypted, and ocimount cannot decrypt layers'
    case 'erofs':
      return 'it is an EROFS image, and ocimount reads layers that are tar archives'
    case 'unknown':
      return 'it is not a filesystem layer that ocimount knows'
  }
}

/** Says why a document of this role is neither a manifest nor an index that can be read; undefined when it may be. */
export function unsupportedManifestReason(role: MediaTypeRole): string | undefined {
  switch (role) {
    case 'schema1':
      return 'it is a Docker schema 1 manifest, which is obsolete; pull and push the image with a current tool to convert it'
    case 'artifact-manifest':
      return 'it is an artifact manifest, which was removed from the specification before 1.1; it is not an image'
    default:
      return undefined
  }
}

/** Takes the media type out of a `Content-Type` header: parameters dropped, in lower case (checklist A-020). */
export function normalizeMediaType(header: string): string {
  return (header.split(';', 1)[0] ?? '').trim().toLowerCase()
}

/** Tells whether the text is a media type by RFC 6838, section 4.2. */
export function isMediaType(text: string): boolean {
  return MEDIA_TYPE.test(text)
}

const MEDIA_TYPE =
  /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/

const ROLES: ReadonlyMap<string, MediaTypeRole> = new Map<string, MediaTypeRole>([
  [OCI_MANIFEST, 'manifest'],
  [DOCKER_MANIFEST, 'manifest'],
  [OCI_INDEX, 'index'],
  [DOCKER_MANIFEST_LIST, 'index'],
  [`${OCI}image.manifest.list.v1+json`, 'index'], // until 1.0.0-rc4
  [OCI_CONFIG, 'config'],
  [DOCKER_CONFIG, 'config'],
  [`${OCI}image.serialization.config.v1+json`, 'config'], // 0.1 to 0.2
  [OCI_EMPTY, 'empty'],
  [`${OCI}artifact.manifest.v1+json`, 'artifact-manifest'], // 1.1.0-rc1 and rc2
  [`${DOCKER}distribution.manifest.v1+json`, 'schema1'],
  [`${DOCKER}distribution.manifest.v1+prettyjws`, 'schema1'],
  [`${DOCKER}plugin.v1+json`, 'plugin-config'],
])

const LAYERS: ReadonlyMap<string, LayerSupport> = new Map<string, LayerSupport>([
  [OCI_LAYER, 'layer'],
  [OCI_LAYER_GZIP, 'layer'],
  [OCI_LAYER_ZSTD, 'layer'],
  [DOCKER_LAYER, 'layer'],
  [DOCKER_LAYER_GZIP, 'layer'],
  [`${DOCKER}image.rootfs.diff.tar.zstd`, 'layer'], // never standard, but seen
  [`${OCI}image.layer.nondistributable.v1.tar`, 'foreign-ok'],
  [`${OCI}image.layer.nondistributable.v1.tar+gzip`, 'foreign-ok'],
  [`${OCI}image.layer.nondistributable.v1.tar+zstd`, 'foreign-ok'],
  [`${DOCKER}image.rootfs.foreign.diff.tar`, 'foreign-ok'],
  [`${DOCKER}image.rootfs.foreign.diff.tar.gzip`, 'foreign-ok'],
  [`${OCI}image.rootfs.tar.gzip`, 'layer'], // 0.3 to 0.4
  [`${OCI}image.serialization.rootfs.tar.gzip`, 'layer'], // 0.1 to 0.2
  [`${OCI}image.layer.tar+gzip`, 'layer'], // 0.5 and 1.0.0-rc1
  ['application/vnd.erofs.layer.v1', 'erofs'],
])
