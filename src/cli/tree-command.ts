// `ocimount tree IMAGE [PATH…]`

import { byteStringOf, escapeName, type ByteString } from '../byte-string.js'
import type { ErofsImage } from '../erofs/reader.js'
import { OcimountError } from '../errors.js'
import { resolvePath } from '../rootfs/resolve-path.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { fileRow } from './file-listing.js'
import { printJson, printResult } from './output.js'
import { withRootfs } from './with-rootfs.js'

interface Visited {
  readonly path: ByteString
  readonly name: ByteString
  readonly nid: number
  readonly depth: number
  readonly isLast: boolean
}

/** Draws the tree below each path, as tree(1) does. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const paths = args.paths.length > 0 ? args.paths : ['/']
  const depth = args.depth ?? Infinity
  if (depth !== Infinity && !(Number.isInteger(depth) && depth >= 1)) {
    throw new OcimountError('USAGE', 'Cannot use --depth: it takes a number of levels from 1 on')
  }
  return withRootfs(args, ({ image }) => {
    const roots = paths.map((path) => ({
      path: byteStringOf(path),
      nid: resolvePath(image, byteStringOf(path), { followLast: true }),
    }))
    if (args.json) {
      printJson(
        roots.flatMap(({ path, nid }) => [
          fileRow(image, path, nid),
          ...[...walk(image, path, nid, depth)].map((item) => fileRow(image, item.path, item.nid)),
        ]),
      )
      return Promise.resolve(EXIT.done)
    }
    for (const { path, nid } of roots) draw(image, path, nid, depth)
    return Promise.resolve(EXIT.done)
  })
}

const FLUSH_LINES = 1000

function draw(image: ErofsImage, path: ByteString, nid: number, depth: number): void {
  const lines = [escapeName(path)]
  // For every level above the current one: does its line go on below?
  const open: boolean[] = []
  let directories = 0
  let files = 0
  for (const item of walk(image, path, nid, depth)) {
    open.length = item.depth - 1
    const bars = open.map((isOpen) => (isOpen ? '│   ' : '    ')).join('')
    const mode = image.inode(item.nid).mode & 0o170000
    const target = mode === 0o120000 ? ` -> ${escapeName(image.readlink(item.nid))}` : ''
    lines.push(`${bars}${item.isLast ? '└── ' : '├── '}${escapeName(item.name)}${target}`)
    open.push(!item.isLast)
    if (mode === 0o040000) directories++
    else files++
    if (lines.length >= FLUSH_LINES) printResult(`${lines.splice(0).join('\n')}\n`)
  }
  printResult(`${lines.join('\n')}\n\n${directories} directories, ${files} files\n`)
}

// Depth first with a stack of its own: an image may be deeper than ours.
function* walk(
  image: ErofsImage,
  path: ByteString,
  nid: number,
  maxDepth: number,
): Iterable<Visited> {
  if (!isDirectory(image, nid) || maxDepth < 1) return
  const waiting = childrenOf(image, path, nid, 1).reverse()
  for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) {
    yield item
    if (item.depth < maxDepth && isDirectory(image, item.nid)) {
      waiting.push(...childrenOf(image, item.path, item.nid, item.depth + 1).reverse())
    }
  }
}

function childrenOf(image: ErofsImage, path: ByteString, nid: number, depth: number): Visited[] {
  const prefix = path.endsWith('/') ? path : `${path}/`
  const names = [...image.readdir(nid)].filter(({ name }) => name !== '.' && name !== '..')
  return names.map(({ name, nid: child }, index) => ({
    path: (prefix + name) as ByteString,
    name,
    nid: child,
    depth,
    isLast: index === names.length - 1,
  }))
}

function isDirectory(image: ErofsImage, nid: number): boolean {
  return (image.inode(nid).mode & 0o170000) === 0o040000
}
