// Says what a directory or archive is that is no image, as far as its names tell, and what to do about it.

import { escapeText } from '../byte-string.js'
import type { ErrorCode } from '../errors.js'
import { OcimountError } from '../errors.js'
import type { FileTree } from './file-tree.js'
import { MAX_LISTED } from './limits.js'

/** Makes the error for a tree that holds no image. */
export async function notAnImage(tree: FileTree): Promise<OcimountError> {
  const names = new Set(await tree.list(''))
  const what = tree.isArchive ? 'archive' : 'directory'
  const known = KNOWN.find(({ all, any }) => {
    return all.every((name) => names.has(name)) && (any?.some((name) => names.has(name)) ?? true)
  })
  const path = escapeText(tree.path)
  const problem: { code: ErrorCode; why: string } =
    known ?? (await nested(tree, names)) ?? unknown(what, names)
  return new OcimountError(problem.code, `Cannot use ${path} as an image: ${problem.why}`)
}

interface Known {
  readonly all: readonly string[]
  readonly any?: readonly string[]
  readonly code: ErrorCode
  readonly why: string
}

const KNOWN: readonly Known[] = [
  {
    all: ['blobs/', 'refs/'],
    code: 'IMAGE_UNSUPPORTED',
    why: 'it is an OCI layout from before image-spec 1.0, with refs/ in place of index.json',
  },
  {
    all: ['oci-layout', 'refs/'],
    code: 'IMAGE_UNSUPPORTED',
    why: 'it is an OCI layout from before image-spec 1.0, with refs/ in place of index.json',
  },
  { all: ['oci-layout'], code: 'IMAGE_INVALID', why: 'its index.json is missing' },
  { all: ['index.json', 'blobs/'], code: 'IMAGE_INVALID', why: 'its oci-layout file is missing' },
  {
    all: ['repositories'],
    code: 'IMAGE_UNSUPPORTED',
    why: 'it was written by Docker 1.9 or earlier and has no manifest.json; load and save it with a later one',
  },
  {
    all: ['manifest', 'rootfs/'],
    code: 'IMAGE_UNSUPPORTED',
    why: 'it is an AppC image (ACI), which is not supported',
  },
  {
    all: ['config.json', 'rootfs/'],
    code: 'IMAGE_UNSUPPORTED',
    why: 'it is a runtime bundle, whose rootfs/ is a root filesystem already',
  },
  {
    all: ['blobs/'],
    code: 'IMAGE_INVALID',
    why: 'it has blobs/, but neither oci-layout nor manifest.json',
  },
  {
    all: ['etc/'],
    any: ['bin/', 'bin', 'usr/', 'sbin/', 'sbin', 'lib/', 'lib'],
    code: 'IMAGE_UNSUPPORTED',
    why: 'it is a root filesystem, such as docker export writes, not an image; docker save writes images',
  },
  {
    all: ['Chart.yaml'],
    code: 'IMAGE_UNSUPPORTED',
    why: 'it is a Helm chart, not an image',
  },
]

/** An archive of a directory that holds an image is one `-C` away from being one. */
async function nested(
  tree: FileTree,
  names: ReadonlySet<string>,
): Promise<{ code: ErrorCode; why: string } | undefined> {
  const directories = [...names].filter((name) => name.endsWith('/')).slice(0, MAX_LISTED)
  for (const directory of directories) {
    for (const document of ['oci-layout', 'manifest.json']) {
      if (!(await isThere(tree, directory + document))) continue
      const inside = escapeText(directory)
      const remedy = tree.isArchive
        ? `pack the content of ${inside} itself (tar -C)`
        : 'name that directory'
      return { code: 'IMAGE_INVALID', why: `the image is in ${inside} inside it; ${remedy}` }
    }
  }
  return undefined
}

async function isThere(tree: FileTree, name: string): Promise<boolean> {
  try {
    return (await tree.find(name)) !== undefined
  } catch (error) {
    // A name that cannot be opened is no help to anybody here.
    if (error instanceof OcimountError) return false
    throw error
  }
}

function unknown(what: string, names: ReadonlySet<string>): { code: ErrorCode; why: string } {
  if (names.size === 0) return { code: 'IMAGE_INVALID', why: `the ${what} is empty` }
  const why = `the ${what} holds neither oci-layout nor manifest.json`
  return { code: 'IMAGE_INVALID', why }
}
