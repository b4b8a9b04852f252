// `ocimount ls IMAGE [PATH…]`

import { byteStringOf, escapeName, type ByteString } from '../byte-string.js'
import type { ErofsImage } from '../erofs/reader.js'
import { resolvePath } from '../rootfs/resolve-path.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { fileRow, longCells } from './file-listing.js'
import { formatTable, printJson, printResult } from './output.js'
import { withRootfs } from './with-rootfs.js'

interface Listed {
  readonly path: ByteString
  readonly name: ByteString
  readonly nid: number
}

/** Lists directories of an image as ls does: contents of directories, files as themselves. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const paths = args.paths.length > 0 ? args.paths : ['/']
  return withRootfs(args, ({ image }) => {
    const sections = paths.flatMap((path) => [...sectionsOf(image, byteStringOf(path), args)])
    if (args.json) {
      printJson(
        sections.flatMap(({ rows }) => rows.map((row) => fileRow(image, row.path, row.nid))),
      )
      return Promise.resolve(EXIT.done)
    }
    sections.forEach((section, index) => {
      const title =
        sections.length > 1 && section.isDirectory ? `${escapeName(section.path)}:\n` : ''
      printResult((index > 0 ? '\n' : '') + title + format(image, section.rows, args.long))
    })
    return Promise.resolve(EXIT.done)
  })
}

interface Section {
  readonly path: ByteString
  readonly isDirectory: boolean
  readonly rows: readonly Listed[]
}

function* sectionsOf(
  image: ErofsImage,
  path: ByteString,
  args: CommandArguments,
): Iterable<Section> {
  // Like ls: a symlink that is named is shown itself with -l, followed without.
  const nid = resolvePath(image, path, { followLast: !args.long || path.endsWith('/') })
  if (!isDirectory(image, nid)) {
    yield { path, isDirectory: false, rows: [{ path, name: path, nid }] }
    return
  }
  const waiting: { path: ByteString; nid: number }[] = [{ path, nid }]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const directory = next
    const rows = childrenOf(image, directory.path, directory.nid)
    yield { path: directory.path, isDirectory: true, rows }
    if (!args.recursive) continue
    for (const row of [...rows].reverse()) {
      if (isDirectory(image, row.nid)) waiting.push(row)
    }
  }
}

function childrenOf(image: ErofsImage, path: ByteString, nid: number): Listed[] {
  const prefix = path.endsWith('/') ? path : `${path}/`
  const rows: Listed[] = []
  for (const { name, nid: child } of image.readdir(nid)) {
    if (name !== '.' && name !== '..')
      rows.push({ path: (prefix + name) as ByteString, name, nid: child })
  }
  return rows
}

function isDirectory(image: ErofsImage, nid: number): boolean {
  return (image.inode(nid).mode & 0o170000) === 0o040000
}

function format(image: ErofsImage, rows: readonly Listed[], isLong: boolean): string {
  if (!isLong) return rows.map((row) => `${escapeName(row.name)}\n`).join('')
  const cells = rows.map((row) => longCells(image, row.nid, escapeName(row.name)))
  const [header, ...rest] = cells
  // The table's header row is the first file: columns line up, and there is no title line, as with ls.
  return header === undefined
    ? ''
    : formatTable(
        header.map(String),
        rest.map((row) => row.map(String)),
      )
}
