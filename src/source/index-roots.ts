// The roots of an OCI layout: entries of index.json, joined where they point to the same manifest.

import type { Descriptor } from '../image/descriptor.js'
import { CONTAINERD_NAME_ANNOTATION, REF_NAME_ANNOTATION } from '../image/annotations.js'
import type { Root } from './root.js'

/** Makes one root of all entries with the same digest; tags of one image are such entries. */
export function rootsOfIndex(manifests: readonly Descriptor[]): Root[] {
  const byDigest = new Map<string, Root>()
  for (const [position, descriptor] of manifests.entries()) {
    const full = descriptor.annotations.get(CONTAINERD_NAME_ANNOTATION)
    const ref = descriptor.annotations.get(REF_NAME_ANNOTATION)
    const name = full ?? ref
    const earlier = byDigest.get(descriptor.digest)
    byDigest.set(descriptor.digest, {
      names: joined(earlier?.names, name),
      aliases: joined(earlier?.aliases, ref),
      positions: [...(earlier?.positions ?? []), position],
      descriptor: earlier?.descriptor ?? descriptor,
      item: undefined,
    })
  }
  return [...byDigest.values()]
}

function joined(list: readonly string[] = [], name: string | undefined): readonly string[] {
  return name === undefined || name === '' || list.includes(name) ? list : [...list, name]
}
