// `manifest.json` of a docker-archive, what `docker save` and `podman save` write: a list of images, each by the
// paths of its config and its layers within the archive. Nothing in it is a digest that could be trusted.

import { parseDescriptor, readDigest, type Descriptor } from './descriptor.js'
import type { DiffId } from './digest.js'
import { asArray, FieldReader, invalidValue, locationOf } from './field-reader.js'
import { parseJson } from './json.js'
import { MAX_DOCKER_MANIFEST_SIZE } from './limits.js'

export interface DockerArchiveItem {
  /** Path of the config; its name says nothing that is not checked (checklist D-002). */
  readonly config: string
  /** Names as the writer chose them: familiar by Docker, full by podman; none for an untagged image. */
  readonly repoTags: readonly string[]
  /** Paths of the layers, base first. */
  readonly layers: readonly string[]
  /** Descriptors of layers, by DiffID; Docker 25 and later write them, earlier ones for foreign layers alone. */
  readonly layerSources: ReadonlyMap<DiffId, Descriptor>
}

/**
 * Parses the file. Paths are given as they are written; whoever opens them keeps them inside the archive.
 *
 * @throws OcimountError `IMAGE_INVALID`, `LIMIT_EXCEEDED`
 */
export function parseDockerManifest(bytes: Uint8Array): DockerArchiveItem[] {
  const value = parseJson(bytes, 'manifest.json', { maxSize: MAX_DOCKER_MANIFEST_SIZE })
  return asArray(value, 'manifest.json').map((item, index) => {
    const fields = new FieldReader(item, locationOf('manifest.json', index), ITEM_FIELDS)
    return {
      config: readPath(fields.string('Config'), fields.at('Config')),
      repoTags: fields.strings('RepoTags'),
      layers: fields
        .strings('Layers')
        .map((path, layer) => readPath(path, locationOf(fields.at('Layers'), layer))),
      layerSources: readLayerSources(fields),
    }
  })
}

function readPath(path: string, location: string): string {
  if (path === '') throw invalidValue(location, 'is an empty path')
  if (path.includes('\0')) throw invalidValue(location, 'is a path with a NUL')
  return path
}

function readLayerSources(fields: FieldReader): ReadonlyMap<DiffId, Descriptor> {
  const location = fields.at('LayerSources')
  const sources = new Map<DiffId, Descriptor>()
  for (const [key, value] of fields.members('LayerSources')) {
    const place = locationOf(location, key)
    sources.set(readDigest(key, place), parseDescriptor(value, place))
  }
  return sources
}

const ITEM_FIELDS = ['Config', 'RepoTags', 'Layers', 'LayerSources', 'Parent']
