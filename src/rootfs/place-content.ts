// The last step of the union, over the finished tree: every file gets extents that EROFS can express, and
// what the tree holds is counted.

import { textOf, type ByteString } from '../byte-string.js'
import { planChunks } from '../erofs/chunk-plan.js'
import { alignUp, BLOCK_SIZE, MAX_DEVICE_BLOCKS } from '../erofs/format.js'
import type { ErofsExtent } from '../erofs/node.js'
import { limitError } from './limits.js'
import type { ReportBuilder } from './report.js'
import { isDirectory, isOverlayWhiteout, isRegularFile, type TreeNode } from './tree-node.js'
import { virtualTable, type VirtualRow, type VirtualTable } from './virtual-table.js'

/** What a tree holds; a file with several names counts once. */
export interface RootfsCounts {
  readonly inodes: number
  /** Regular files. */
  readonly files: number
  /** Logical bytes of the regular files. */
  readonly bytes: number
  /** Names and link targets that are not UTF-8, which some drivers cannot show. */
  readonly notUtf8: number
}

export interface PlacedContent {
  readonly counts: RootfsCounts
  /** What the device with number `virtualDevice` shows. */
  readonly virtual: VirtualTable
}

/**
 * Moves to the virtual device what the kernel cannot read where it lies, and counts the inodes.
 *
 * @param virtualDevice number that the extents get which point to the virtual device
 * @throws `LIMIT_EXCEEDED` when sparse files need more than EROFS can address
 */
export function placeContent(
  root: TreeNode,
  virtualDevice: number,
  report: ReportBuilder,
): PlacedContent {
  const content = new ContentPlacer(virtualDevice)
  const linked = new Set<TreeNode>()
  const waiting: Waiting[] = [{ path: '' as ByteString, node: root }]
  let inodes = 1
  let files = 0
  let bytes = 0
  let notUtf8 = 0
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    for (const [name, node] of next.node.children ?? []) {
      if (textOf(name) === undefined) notUtf8++
      if (isDirectory(node)) waiting.push({ path: joinPath(next.path, name), node })
      if (node.isLinked) {
        if (linked.has(node)) continue
        linked.add(node)
      }
      inodes++
      if (node.target !== undefined && textOf(node.target) === undefined) notUtf8++
      if (isRegularFile(node)) {
        content.place(node)
        files++
        bytes += node.size ?? 0
      } else if (isOverlayWhiteout(node)) {
        const path = joinPath(next.path, name)
        report.add('overlay-whiteout', node.layer, path, 'is a character device 0:0')
      }
    }
  }
  return { counts: { inodes, files, bytes, notUtf8 }, virtual: content.table() }
}

interface Waiting {
  readonly path: ByteString
  readonly node: TreeNode
}

function joinPath(directory: ByteString, name: ByteString): ByteString {
  return (directory === '' ? name : `${directory}/${name}`) as ByteString
}

/** Content on the virtual device starts on a page, so that no page has to be put together from two files. */
const VIRTUAL_ALIGNMENT = 4096
/** Chunks of a file on the virtual device: small enough to leave holes out, few enough for an inode's index. */
const MIN_CHUNK_SIZE = 2 ** 20
const MAX_CHUNKS_OF_FILE = 2 ** 16
const MAX_VIRTUAL_SIZE = MAX_DEVICE_BLOCKS * BLOCK_SIZE
/** 28 bytes each in the cached file. */
const MAX_VIRTUAL_ROWS = 4_000_000

class ContentPlacer {
  private readonly virtualDevice: number
  private readonly rows: VirtualRow[] = []
  private size = 0

  constructor(virtualDevice: number) {
    this.virtualDevice = virtualDevice
  }

  place(node: TreeNode): void {
    const { size = 0, extents = [] } = node
    if (isPlainRun(size, extents) || planChunks(size, extents) !== undefined) return
    node.extents = this.moveToVirtual(size, extents)
  }

  table(): VirtualTable {
    return virtualTable(this.size, this.rows)
  }

  /** Gives each run of chunks that hold any data a stretch of the virtual device. */
  private moveToVirtual(size: number, extents: readonly ErofsExtent[]): ErofsExtent[] {
    const chunkSize = chunkSizeFor(size)
    const runs: { fileOffset: number; length: number; deviceOffset: number; device: number }[] = []
    for (const extent of extents) {
      const first = extent.fileOffset - (extent.fileOffset % chunkSize)
      const end = Math.min(alignUp(extent.fileOffset + extent.length, chunkSize), size)
      let run = runs.at(-1)
      if (run === undefined || run.fileOffset + run.length < first) {
        this.size = alignUp(this.size, VIRTUAL_ALIGNMENT)
        run = { fileOffset: first, length: 0, deviceOffset: this.size, device: this.virtualDevice }
        runs.push(run)
      }
      run.length = end - run.fileOffset
      this.size = run.deviceOffset + run.length
      if (this.size > MAX_VIRTUAL_SIZE) throw limitError('bytes of sparse files', MAX_VIRTUAL_SIZE)
      if (this.rows.length === MAX_VIRTUAL_ROWS) {
        throw limitError('stretches of data in sparse files', MAX_VIRTUAL_ROWS)
      }
      this.rows.push({
        virtualOffset: run.deviceOffset + extent.fileOffset - run.fileOffset,
        length: extent.length,
        device: extent.device,
        deviceOffset: extent.deviceOffset,
      })
    }
    return runs
  }
}

/** Tells the plain case, one run of a layer that starts on a block. */
function isPlainRun(size: number, extents: readonly ErofsExtent[]): boolean {
  const [extent] = extents
  if (extent === undefined) return true
  return extents.length === 1 && extent.length === size && extent.deviceOffset % BLOCK_SIZE === 0
}

function chunkSizeFor(size: number): number {
  let chunkSize = MIN_CHUNK_SIZE
  while (size / chunkSize > MAX_CHUNKS_OF_FILE) chunkSize *= 2
  return chunkSize
}
