// Annotations that mean something here (image-spec annotations.md); all others are shown and otherwise left alone.

/** Name of an image within its layout; counts on the descriptors of `index.json` alone (checklist A-153). */
export const REF_NAME_ANNOTATION = 'org.opencontainers.image.ref.name'
/** Full name of an image, written by containerd and Docker 25 and later beside {@link REF_NAME_ANNOTATION}. */
export const CONTAINERD_NAME_ANNOTATION = 'io.containerd.image.name'

/** What is predefined under `org.opencontainers.image.`, in the order in which it is shown. */
export const STANDARD_ANNOTATIONS = [
  'title',
  'description',
  'version',
  'revision',
  'created',
  'authors',
  'vendor',
  'licenses',
  'url',
  'documentation',
  'source',
  'ref.name',
  'base.name',
  'base.digest',
] as const

export type StandardAnnotation = (typeof STANDARD_ANNOTATIONS)[number]

/**
 * Gives the predefined annotations that are there, by short name and in a fixed order.
 *
 * Labels of an image may be given as well. Where a name is missing, its forerunner of the Label Schema
 * convention stands in (annotations.md "Back-compatibility with Label Schema").
 */
export function standardAnnotations(
  annotations: ReadonlyMap<string, string>,
): Map<StandardAnnotation, string> {
  const found = new Map<StandardAnnotation, string>()
  for (const name of STANDARD_ANNOTATIONS) {
    const value =
      annotations.get(`org.opencontainers.image.${name}`) ?? forerunner(annotations, name)
    if (value !== undefined) found.set(name, value)
  }
  return found
}

/** Tells whether the text follows the grammar of {@link REF_NAME_ANNOTATION}; others occur and match literally. */
export function isRefName(text: string): boolean {
  return REF_NAME.test(text)
}

function forerunner(
  annotations: ReadonlyMap<string, string>,
  name: StandardAnnotation,
): string | undefined {
  const key = LABEL_SCHEMA.get(name)
  const value = key === undefined ? undefined : annotations.get(`org.label-schema.${key}`)
  // Its `usage` may be a text as well; the annotation is a URL.
  return name === 'documentation' && !/^https?:/i.test(value ?? '') ? undefined : value
}

const REF_NAME =
  /^[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:\/[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*)*$/
const LABEL_SCHEMA: ReadonlyMap<StandardAnnotation, string> = new Map([
  ['created', 'build-date'],
  ['url', 'url'],
  ['source', 'vcs-url'],
  ['version', 'version'],
  ['revision', 'vcs-ref'],
  ['vendor', 'vendor'],
  ['title', 'name'],
  ['description', 'description'],
  ['documentation', 'usage'],
])
