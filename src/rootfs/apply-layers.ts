// The union: the layers of an image, one after the other, onto an empty root (DESIGN section 6).

import type { ErofsNode } from '../erofs/node.js'
import type { Toc } from '../layer/toc.js'
import { applyLayer } from './apply-layer.js'
import { DEFAULT_ROOTFS_LIMITS, limitError, type RootfsLimits } from './limits.js'
import { placeContent, type RootfsCounts } from './place-content.js'
import { ReportBuilder, type Report } from './report.js'
import { impliedDirectory } from './tree-node.js'
import type { WalkBudget } from './tree-walker.js'
import type { VirtualTable } from './virtual-table.js'

/** A layer as one step of a stack; the same layer may occur more than once. */
export interface StackedLayer {
  readonly layerId: string
  readonly toc: Toc
}

/** A distinct layer, whose bytes are one device. */
export interface DeviceLayer {
  readonly layerId: string
  readonly size: number
}

export interface AppliedLayers {
  readonly root: ErofsNode
  /** The layers as they were given, base first. */
  readonly layerIds: readonly string[]
  /** Devices 0 to n-1, in the order in which the layers first occur. */
  readonly devices: readonly DeviceLayer[]
  /** Device n; there is none where its size is 0. */
  readonly virtual: VirtualTable
  readonly report: Report
  readonly counts: RootfsCounts
}

/**
 * Merges the tables of contents of an image's layers into the tree that a container sees.
 *
 * Layers are given base first; none gives an empty root. Whiteouts hide what lower layers have,
 * whatever their place in their own; a directory met twice takes the upper attributes and keeps its
 * children; anything else replaces what was there; a hard link shares the inode of its target, which may
 * come from a lower layer. What was dropped, replaced or repaired on the way is in the report.
 *
 * @throws `TAR_CORRUPT` for an entry that cannot be applied, `LIMIT_EXCEEDED`
 */
export function applyLayers(
  layers: readonly StackedLayer[],
  limits: Partial<RootfsLimits> = {},
): AppliedLayers {
  const allLimits = { ...DEFAULT_ROOTFS_LIMITS, ...limits }
  checkEntryCount(layers, allLimits)
  const report = new ReportBuilder()
  const budget: WalkBudget = { inodes: 0, linkParts: 0 }
  const root = impliedDirectory()
  const devices: DeviceLayer[] = []
  const numbers = new Map<string, number>()
  for (const [layer, { layerId, toc }] of layers.entries()) {
    let device = numbers.get(layerId)
    if (device === undefined) {
      device = devices.push({ layerId, size: toc.deviceSize }) - 1
      numbers.set(layerId, device)
    }
    applyLayer(root, toc, { layer, device, report, limits: allLimits, budget })
  }
  const { counts, virtual } = placeContent(root, devices.length, report)
  const layerIds = layers.map(({ layerId }) => layerId)
  return { root, layerIds, devices, virtual, report: report.build(), counts }
}

function checkEntryCount(layers: readonly StackedLayer[], { maxEntries }: RootfsLimits): void {
  const entries = layers.reduce((sum, { toc }) => sum + toc.entries.length, 0)
  if (entries > maxEntries) throw limitError('entries', maxEntries)
}
