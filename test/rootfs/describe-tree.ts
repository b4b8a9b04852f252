// Turns a merged tree, or a naive extraction, into plain rows that can be compared and shown.

import { createHash } from 'node:crypto'
import type { ErofsNode } from '../../src/erofs/node.js'
import type { LayerDevice } from '../../src/layer/device.js'
import type { AppliedLayers } from '../../src/rootfs/apply-layers.js'
import { applyLayers } from '../../src/rootfs/apply-layers.js'
import type { RootfsLimits } from '../../src/rootfs/limits.js'
import { VirtualDevice } from '../../src/rootfs/virtual-device.js'
import type { BuiltLayer } from '../helpers/build-layer.js'
import { describeInode, type NaiveInode } from './naive-extractor.js'

/** One path: attributes, content by digest, and the first path of its hard-link set. */
export type Row = Readonly<Record<string, unknown>>
export type Rows = Readonly<Record<string, Row>>

/** Gives a layer an id that stands for its bytes. */
export function layerIdOf(built: BuiltLayer): string {
  return `sha256:${createHash('sha256').update(built.tar).digest('hex')}`
}

/** Applies layers as the program would, with ids made from their bytes. */
export function union(
  layers: readonly BuiltLayer[],
  limits?: Partial<RootfsLimits>,
): AppliedLayers {
  return applyLayers(
    layers.map((built) => ({ layerId: layerIdOf(built), toc: built.toc })),
    limits,
  )
}

/** A device over bytes in memory. */
export function memoryDevice(bytes: Buffer): LayerDevice {
  return {
    size: bytes.length,
    read: (target, deviceOffset) => {
      if (deviceOffset + target.length > bytes.length) return Promise.reject(new Error('beyond'))
      bytes.copy(target, 0, deviceOffset)
      return Promise.resolve()
    },
    native: () => ({ kind: 'memory', size: bytes.length, bytes }),
    close: () => Promise.resolve(),
  }
}

/** The devices of a merged stack, the virtual one last where there is one. */
export function devicesOf(applied: AppliedLayers, layers: readonly BuiltLayer[]): LayerDevice[] {
  const byId = new Map(layers.map((built) => [layerIdOf(built), built.tar]))
  const devices = applied.devices.map(({ layerId }) => memoryDevice(byId.get(layerId)!))
  if (applied.virtual.size > 0) devices.push(new VirtualDevice(applied.virtual, [...devices]))
  return devices
}

/** Describes every path of a merged tree, contents read from the layers' bytes. */
export async function describeUnion(
  applied: AppliedLayers,
  layers: readonly BuiltLayer[],
): Promise<Rows> {
  const devices = devicesOf(applied, layers)
  const paths: [string, ErofsNode][] = []
  const waiting: [string, ErofsNode][] = [['', applied.root]]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    paths.push(next)
    for (const [name, node] of next[1].children ?? []) {
      waiting.push([next[0] === '' ? name : `${next[0]}/${name}`, node])
    }
  }
  const described = new Map<ErofsNode, Row>()
  for (const [, node] of paths) {
    if (!described.has(node)) described.set(node, await describeNode(node, devices))
  }
  return toRows(paths, (node) => described.get(node)!)
}

/** Describes every path of a naive extraction in the same form. */
export function describeNaive(files: ReadonlyMap<string, NaiveInode>): Rows {
  return toRows([...files], describeInode)
}

function toRows<T extends object>(
  paths: readonly (readonly [string, T])[],
  describe: (inode: T) => Row,
): Rows {
  const sorted = [...paths].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  const names = new Map<T, string[]>()
  for (const [path, inode] of sorted) names.set(inode, [...(names.get(inode) ?? []), path])
  return Object.fromEntries(
    sorted.map(([path, inode]) => {
      const row = describe(inode)
      const links = names.get(inode)!
      const isShared = row['type'] !== 'directory' && links.length > 1
      return [path, isShared ? { ...row, same: links[0] } : row]
    }),
  )
}

const TYPES: Readonly<Record<number, string>> = {
  0o010000: 'fifo',
  0o020000: 'char',
  0o040000: 'directory',
  0o060000: 'block',
  0o100000: 'file',
  0o120000: 'symlink',
}

async function describeNode(node: ErofsNode, devices: readonly LayerDevice[]): Promise<Row> {
  const type = TYPES[node.mode & 0o170000] ?? 'unknown'
  const base = {
    type,
    mode: node.mode & 0o7777,
    uid: node.uid,
    gid: node.gid,
    mtime: `${node.mtimeSeconds}.${node.mtimeNanoseconds}`,
    xattrs: Object.fromEntries(
      [...(node.xattrs ?? [])].map(([name, value]) => [name, value.toString('hex')]),
    ),
  }
  if (type === 'symlink') return { ...base, target: node.target }
  if (type === 'char' || type === 'block') {
    return { ...base, rdev: `${node.devMajor}:${node.devMinor}` }
  }
  if (type !== 'file') return base
  const content = await contentOf(node, devices)
  return { ...base, content: createHash('sha256').update(content).digest('hex') }
}

/** Reads a file by its extents. */
export async function contentOf(node: ErofsNode, devices: readonly LayerDevice[]): Promise<Buffer> {
  const content = Buffer.alloc(node.size ?? 0)
  for (const { fileOffset, length, device, deviceOffset } of node.extents ?? []) {
    await devices[device]!.read(content.subarray(fileOffset, fileOffset + length), deviceOffset)
  }
  return content
}
