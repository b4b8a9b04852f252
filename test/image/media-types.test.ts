import t from 'tap'
import {
  classifyMediaType,
  isMediaType,
  layerSupport,
  normalizeMediaType,
  unsupportedLayerReason,
  unsupportedManifestReason,
  type LayerSupport,
  type MediaTypeRole,
} from '../../src/image/media-types.js'

const V = 'application/vnd.'
const ROLES: [string, MediaTypeRole, LayerSupport][] = [
  [`${V}oci.image.index.v1+json`, 'index', 'unknown'],
  [`${V}oci.image.manifest.v1+json`, 'manifest', 'unknown'],
  [`${V}oci.image.config.v1+json`, 'config', 'unknown'],
  [`${V}oci.empty.v1+json`, 'empty', 'unknown'],
  [`${V}oci.image.layer.v1.tar`, 'layer', 'layer'],
  [`${V}oci.image.layer.v1.tar+gzip`, 'layer', 'layer'],
  [`${V}oci.image.layer.v1.tar+zstd`, 'layer', 'layer'],
  [`${V}oci.image.layer.nondistributable.v1.tar`, 'layer', 'foreign-ok'],
  [`${V}oci.image.layer.nondistributable.v1.tar+gzip`, 'layer', 'foreign-ok'],
  [`${V}oci.image.layer.nondistributable.v1.tar+zstd`, 'layer', 'foreign-ok'],
  [`${V}docker.distribution.manifest.list.v2+json`, 'index', 'unknown'],
  [`${V}docker.distribution.manifest.v2+json`, 'manifest', 'unknown'],
  [`${V}docker.container.image.v1+json`, 'config', 'unknown'],
  [`${V}docker.image.rootfs.diff.tar`, 'layer', 'layer'],
  [`${V}docker.image.rootfs.diff.tar.gzip`, 'layer', 'layer'],
  [`${V}docker.image.rootfs.diff.tar.zstd`, 'layer', 'layer'],
  [`${V}docker.image.rootfs.foreign.diff.tar`, 'layer', 'foreign-ok'],
  [`${V}docker.image.rootfs.foreign.diff.tar.gzip`, 'layer', 'foreign-ok'],
  [`${V}oci.image.manifest.list.v1+json`, 'index', 'unknown'],
  [`${V}oci.image.serialization.config.v1+json`, 'config', 'unknown'],
  [`${V}oci.image.serialization.rootfs.tar.gzip`, 'layer', 'layer'],
  [`${V}oci.image.rootfs.tar.gzip`, 'layer', 'layer'],
  [`${V}oci.image.layer.tar+gzip`, 'layer', 'layer'],
  [`${V}oci.image.serialization.combined.v1+json`, 'unknown', 'unknown'],
  [`${V}oci.artifact.manifest.v1+json`, 'artifact-manifest', 'unknown'],
  [`${V}docker.distribution.manifest.v1+json`, 'schema1', 'unknown'],
  [`${V}docker.distribution.manifest.v1+prettyjws`, 'schema1', 'unknown'],
  [`${V}docker.plugin.v1+json`, 'plugin-config', 'unknown'],
  [`${V}oci.image.layer.v1.tar+gzip+encrypted`, 'layer', 'encrypted'],
  [`${V}docker.image.rootfs.diff.tar.gzip+encrypted`, 'layer', 'encrypted'],
  [`${V}oci.image.layer.nondistributable.v1.tar+encrypted`, 'layer', 'encrypted'],
  [`${V}example+encrypted`, 'unknown', 'unknown'],
  [`${V}oci.image.layer.v1.tar+encrypted+encrypted`, 'unknown', 'unknown'],
  [`${V}erofs.layer.v1`, 'layer', 'erofs'],
  [`${V}in-toto+json`, 'unknown', 'unknown'],
  [`${V}OCI.image.layer.v1.tar`, 'unknown', 'unknown'],
  [`${V}oci.image.layer.v1.tar;a=b`, 'unknown', 'unknown'],
  ['constructor', 'unknown', 'unknown'],
  ['', 'unknown', 'unknown'],
]
for (const [mediaType, role, support] of ROLES) {
  t.test(
    `classifyMediaType() knows ${mediaType || 'nothing'} (A-001 to A-003, A-006, A-020)`,
    async (t) => {
      t.equal(classifyMediaType(mediaType), role)
      t.equal(layerSupport(mediaType), support)
    },
  )
}

t.test(
  'unsupportedLayerReason() is silent about layers and specific about others (A-005, A-017)',
  async (t) => {
    t.equal(unsupportedLayerReason(`${V}oci.image.layer.v1.tar+zstd`), undefined)
    t.equal(unsupportedLayerReason(`${V}docker.image.rootfs.foreign.diff.tar.gzip`), undefined)
    t.match(unsupportedLayerReason(`${V}oci.image.layer.v1.tar+gzip+encrypted`), /is encrypted/)
    t.match(unsupportedLayerReason(`${V}erofs.layer.v1`), /EROFS/)
    t.match(
      unsupportedLayerReason(`${V}cncf.helm.chart.content.v1.tar+gzip`),
      /not a filesystem layer/,
    )
  },
)

t.test(
  'unsupportedManifestReason() is specific about obsolete documents (A-012, A-021)',
  async (t) => {
    t.match(unsupportedManifestReason('schema1'), /Docker schema 1/)
    t.match(
      unsupportedManifestReason('artifact-manifest'),
      /removed from the specification before 1\.1/,
    )
    t.equal(unsupportedManifestReason('manifest'), undefined)
  },
)

t.test('normalizeMediaType() drops parameters and case of a header (A-020)', async (t) => {
  const want = `${V}oci.image.index.v1+json`
  for (const header of [want, ` ${want} ; charset=utf-8`, want.toUpperCase(), `${want};`]) {
    t.equal(normalizeMediaType(header), want)
  }
  t.equal(normalizeMediaType(''), '')
})

t.test('isMediaType() follows RFC 6838 (A-031)', async (t) => {
  const name = 'a'.repeat(127)
  for (const good of ['a/b', `${name}/${name}`, '1/2', 'x!#$&^_.+-/y!#$&^_.+-'])
    t.ok(isMediaType(good))
  for (const bad of [
    '',
    'a',
    'a/',
    '/b',
    'a/b/c',
    '.a/b',
    'a/+b',
    `${name}a/b`,
    'a/b\n',
    'a b/c',
    'ä/b',
  ]) {
    t.notOk(isMediaType(bad))
  }
})
