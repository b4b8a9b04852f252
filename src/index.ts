// The library: everything the command does.

export { OcimountError, isOcimountError, type ErrorCode, type ErrorDetails } from './errors.js'
export {
  byteString,
  byteStringOf,
  bytesOf,
  escapeName,
  textOf,
  type ByteString,
} from './byte-string.js'
export { configureLogger, type LogLevel } from './logger.js'
export { Cache } from './cache/cache.js'
export { fileIdentity, type FileIdentity } from './cache/file-identity.js'
export { parseDigest, type Digest, type DiffId } from './image/digest.js'
export type { Descriptor } from './image/descriptor.js'
export type { Manifest } from './image/manifest.js'
export type { ImageConfig } from './image/image-config.js'
export type { ExecutionConfig } from './image/execution-config.js'
export { hostPlatform, formatPlatform, type Platform } from './image/platform.js'
export { parseImageReference, type ParsedReference } from './reference/reference.js'
export { parsePlatform } from './reference/platform.js'
export { openImage, listCandidates, type OpenImageOptions } from './source/open-image.js'
export type { RegistryOptions } from './registry/client.js'
export type { Image } from './source/image.js'
export type { Candidate } from './source/candidate.js'
export { validateImage, type Finding } from './source/validate.js'
export { indexLayer, type IndexedLayer } from './layer/index-layer.js'
export type { LayerBlob, FileRegion } from './layer/layer-blob.js'
export type { LayerDevice } from './layer/device.js'
export type { Toc, TocEntry } from './layer/toc.js'
export { buildRootfs, type BuildRootfsOptions, type Rootfs } from './rootfs/build-rootfs.js'
export type { RootfsProgress } from './rootfs/prepare-layers.js'
export type { Report, ReportEntry } from './rootfs/report.js'
export { resolvePath } from './rootfs/resolve-path.js'
export { ErofsImage } from './erofs/reader.js'
export { mountRootfs as mount, type MountOptions, type RootfsMount } from './mount/mount.js'
export { listMounts, type FoundMount } from './mount/list-mounts.js'
export { unmountPath as unmount } from './mount/unmount.js'
export { convertConfig } from './bundle/convert.js'
export type { BundleFile, Conversion, ConversionInput, MountPoint } from './bundle/conversion.js'
export { treeOf, type ImageTree } from './bundle/image-tree.js'
export {
  PROFILE_NAMES,
  type BundleOptions,
  type HostFacts,
  type ProfileName,
} from './bundle/options.js'
export { readHostFacts, readSeccompProfile } from './bundle/host-facts.js'
export { generatedLayer, planMountPoints, type MountPointPlan } from './bundle/mount-points.js'
export { encodeRuntimeConfig, type RuntimeConfig } from './bundle/runtime-config.js'
