// Trees for property tests: every kind of inode, awkward names, hard links, sparse files, many and few entries.

import type { ByteString } from '../../src/byte-string.js'
import { planChunks } from '../../src/erofs/chunk-plan.js'
import type { ErofsExtent, ErofsNode } from '../../src/erofs/node.js'
import { directory, file, node, symlink, xattrs } from './erofs-tree.js'
import type { SeededRandom } from './seeded-random.js'

/** Makes a tree whose content lies on the given devices. */
export function randomTree(random: SeededRandom, devices: readonly Buffer[]): ErofsNode {
  const root = directory({}, attributes(random))
  const directories = [root]
  const files: ErofsNode[] = []
  const count = random.pick([3, 40, 200])
  for (let made = 0; made < count; made++) {
    const parent = random.pick(directories)
    const child =
      random.chance(12) && files.length > 0 ? random.pick(files) : randomNode(random, devices)
    if (child.children !== undefined) directories.push(child)
    else files.push(child)
    parent.children!.set(randomName(random), child)
  }
  // Enough names in one place for several blocks.
  const crowded = random.pick(directories)
  for (let made = random.below(60); made > 0; made--)
    crowded.children!.set(randomName(random), file(0))
  return root
}

function randomNode(random: SeededRandom, devices: readonly Buffer[]): ErofsNode {
  const fields = attributes(random)
  switch (random.below(8)) {
    case 0:
      return directory({}, { ...fields, mode: 0o40000 | random.below(0o10000) })
    case 1:
      return symlink(
        randomName(random)
          .repeat(random.pick([1, 1, 1, 3, 16]))
          .slice(0, 4095),
        {
          ...fields,
          mode: 0o120777,
        },
      )
    case 2:
      return node(random.pick([0o20644, 0o60600]), {
        ...fields,
        devMajor: random.below(0x1000),
        devMinor: random.below(0x100000),
      })
    case 3:
      return node(random.pick([0o10600, 0o140755]), fields)
    default: {
      const size = random.pick([0, 1, 511, 512, 513, 4096, 30_000, random.below(200_000)])
      return file(size, randomExtents(random, size, devices), {
        ...fields,
        mode: 0o100000 | random.below(0o10000),
      })
    }
  }
}

/** Makes extents that a chunk index can express: mostly one, sometimes holes between aligned ones. */
export function randomExtents(
  random: SeededRandom,
  size: number,
  devices: readonly Buffer[],
): ErofsExtent[] {
  const chunkSize = random.chance(3) ? 512 << random.below(8) : Math.max(size, 1)
  const extents: ErofsExtent[] = []
  for (let fileOffset = 0; fileOffset < size; fileOffset += chunkSize) {
    if (random.chance(4)) continue
    const device = random.below(devices.length)
    const length = Math.min(chunkSize, size - fileOffset)
    const room = Math.floor((devices[device]!.length - length) / 512)
    if (room >= 0)
      extents.push({ fileOffset, device, deviceOffset: 512 * random.below(room + 1), length })
  }
  return planChunks(size, extents) === undefined ? [] : extents
}

function randomName(random: SeededRandom): ByteString {
  const length = random.pick([1, 2, 8, 8, 8, 30, 255])
  const text = Array.from(random.bytes(length), (byte) =>
    String.fromCharCode(
      byte === 0 || byte === 0x2f ? 0x2e : random.chance(2) ? byte : 97 + (byte % 4),
    ),
  ).join('')
  return (
    /^\.\.?$|[/\0]/.test(text) ? `x${text.replace(/[/\0]/g, '.')}`.slice(0, 255) : text
  ) as ByteString
}

/** Trusted and security names alone: `user.` ones are hidden by the kernel on links and special files. */
function attributes(random: SeededRandom): Partial<ErofsNode> {
  const values: Record<string, Buffer> = {}
  while (random.chance(3)) {
    const key = random.pick(['trusted.a', 'trusted.', 'security.x', 'trusted.longer-name'])
    const length = random.pick([0, 1, 3, 20, 700])
    values[key + String(random.below(3))] = random.chance(2)
      ? Buffer.alloc(length, 7)
      : random.bytes(length)
  }
  return {
    uid: random.pick([0, 1000, 0xfffffffe]),
    gid: random.pick([0, 100, 0xfffffffe]),
    mtimeSeconds: random.pick([0, 1, -1, -(2 ** 33), 2 ** 33, 1_700_000_000]),
    mtimeNanoseconds: random.pick([0, 1, 999_999_999, random.below(1_000_000_000)]),
    xattrs: Object.keys(values).length === 0 ? undefined : xattrs(values),
  }
}
