// What a conversion is given, made in memory: a tree of parts (build-layer.ts) and a config as JSON.

import { treeOf, type ImageTree } from '../../src/bundle/image-tree.js'
import type { ConversionInput } from '../../src/bundle/conversion.js'
import { convertConfig } from '../../src/bundle/convert.js'
import type { Conversion } from '../../src/bundle/conversion.js'
import type { BundleOptions, HostFacts } from '../../src/bundle/options.js'
import { ErofsImage } from '../../src/erofs/reader.js'
import { writeErofs } from '../../src/erofs/writer.js'
import { digestOf } from '../../src/image/digest.js'
import { parseImageConfig } from '../../src/image/image-config.js'
import type { LayerDevice } from '../../src/layer/device.js'
import { applyLayers, type StackedLayer } from '../../src/rootfs/apply-layers.js'
import { json } from './build-image.js'
import { layer, type LayerPart } from './build-layer.js'

/** A machine on which nothing is in the way, the same for every test. */
export const HOST: HostFacts = {
  platform: { os: 'linux', architecture: 'amd64' },
  uid: 1000,
  gid: 1001,
  uidMap: undefined,
  gidMap: undefined,
  isSetgroupsDenied: false,
  isCgroupV2: true,
  hasTimeNamespaces: true,
  thermalThrottlePaths: ['/sys/devices/system/cpu/cpu0/thermal_throttle'],
  networkFiles: new Map(),
  kernel: [6, 12],
  seccomp: undefined,
}

export interface InputSpec {
  /** The object under `config`. */
  readonly config?: Readonly<Record<string, unknown>>
  /** Other fields of the image config. */
  readonly image?: Readonly<Record<string, unknown>>
  readonly parts?: readonly LayerPart[]
  readonly options?: BundleOptions
  readonly host?: Partial<HostFacts>
}

/** Makes the input for a conversion. */
export function conversionInput(spec: InputSpec = {}): ConversionInput {
  const bytes = json({
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [] },
    config: spec.config ?? { Cmd: ['/bin/true'] },
    ...spec.image,
  })
  return {
    image: { config: parseImageConfig(bytes), configDigest: digestOf(bytes) },
    tree: imageTree(...(spec.parts ?? [])),
    options: spec.options ?? {},
    host: { ...HOST, ...spec.host },
  }
}

/** Converts it. */
export async function convert(spec: InputSpec = {}): Promise<Conversion> {
  return convertConfig(conversionInput(spec))
}

/** Gives the tree of a layer of these parts. */
export function imageTree(...parts: readonly LayerPart[]): ImageTree {
  return stackedTree(parts)
}

/** The same with further layers on top, which have no bytes. */
export function stackedTree(
  parts: readonly LayerPart[],
  ...upper: readonly StackedLayer[]
): ImageTree {
  const base = layer(...parts)
  const stack = [{ layerId: 'base', toc: base.toc }, ...upper]
  const applied = applyLayers(stack)
  const { image } = writeErofs(
    applied.root,
    applied.devices.map(({ size }, index) => ({ tag: `layer-${index}`, size })),
  )
  return treeOf({ image: new ErofsImage(image), devices: [bufferDevice(base.tar)] })
}

function bufferDevice(bytes: Buffer): LayerDevice {
  return {
    size: bytes.length,
    read: async (target, deviceOffset) => {
      bytes.copy(target, 0, deviceOffset, deviceOffset + target.length)
    },
    native: () => {
      throw new Error('there is no native form')
    },
    close: async () => undefined,
  }
}
