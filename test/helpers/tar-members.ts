// Trees of files as plain lists of members: what an image archive or layout directory consists of before
// it is packed or written. A test tampers with the list, then packs it.

import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** One file of a tree, in the order in which an archive holds them. */
export type Member =
  | { readonly path: string; readonly type: 'file'; readonly bytes: Buffer }
  | { readonly path: string; readonly type: 'directory' }
  | { readonly path: string; readonly type: 'symlink' | 'hardlink'; readonly target: string }
  | { readonly path: string; readonly type: 'fifo' }

export interface PackOptions {
  /** Put before every name: `./` as `tar -C dir .` writes. */
  readonly prefix?: string
  /** Zero blocks at the end; 2 by rule, 20 fills a record as GNU tar does. */
  readonly trailer?: number
}

/** A regular file. */
export function file(path: string, content: Buffer | string): Member {
  return { path, type: 'file', bytes: typeof content === 'string' ? Buffer.from(content) : content }
}

/** Packs members as ustar; names over 100 bytes get a PAX header. */
export function packMembers(members: readonly Member[], options: PackOptions = {}): Buffer {
  const parts: Buffer[] = []
  for (const member of members) {
    const name = (options.prefix ?? '') + member.path + (member.type === 'directory' ? '/' : '')
    const body = member.type === 'file' ? member.bytes : Buffer.alloc(0)
    const target = 'target' in member ? member.target : ''
    const records =
      (Buffer.byteLength(name) > 100 ? paxRecord('path', name) : '') +
      (Buffer.byteLength(target) > 100 ? paxRecord('linkpath', target) : '')
    if (records !== '') {
      const bytes = Buffer.from(records)
      parts.push(tarHeader('PaxHeader', 'x', bytes.length, ''), bytes, padding(bytes.length))
    }
    parts.push(tarHeader(name, TYPE_FLAGS[member.type], body.length, target), body)
    parts.push(padding(body.length))
  }
  parts.push(Buffer.alloc(512 * (options.trailer ?? 2)))
  return Buffer.concat(parts)
}

/** Packs a small layer from names and contents; a name that ends in `/` is a directory. */
export function simpleLayer(files: Readonly<Record<string, string>>): Buffer {
  return packMembers(
    Object.entries(files).map(([path, content]) =>
      path.endsWith('/') ? { path: path.slice(0, -1), type: 'directory' } : file(path, content),
    ),
  )
}

/** Writes members under a directory; a `fifo` is left to the caller, who has `mkfifo`. */
export function writeMembers(root: string, members: readonly Member[]): string {
  mkdirSync(root, { recursive: true })
  for (const member of members) {
    const path = join(root, member.path)
    mkdirSync(dirname(path), { recursive: true })
    if (member.type === 'file') writeFileSync(path, member.bytes)
    else if (member.type === 'directory') mkdirSync(path, { recursive: true })
    else if (member.type === 'symlink') symlinkSync(member.target, path)
    else if (member.type === 'hardlink') linkSync(join(root, member.target), path)
  }
  return root
}

const TYPE_FLAGS = { file: '0', hardlink: '1', symlink: '2', directory: '5', fifo: '6' } as const

/** Makes one ustar header block with a right checksum; names are cut at 100 bytes. */
export function tarHeader(name: string, typeFlag: string, size: number, target: string): Buffer {
  const block = Buffer.alloc(512)
  block.write(name.slice(0, 100), 0, 100)
  block.write('0000644\0', 100)
  block.write('0000000\0', 108)
  block.write('0000000\0', 116)
  block.write(size.toString(8).padStart(11, '0') + '\0', 124)
  block.write('00000000000\0', 136)
  block.write('        ', 148)
  block.write(typeFlag, 156)
  block.write(target.slice(0, 100), 157, 100)
  block.write('ustar\x0000', 257)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(sum.toString(8).padStart(6, '0') + '\0 ', 148)
  return block
}

function padding(length: number): Buffer {
  return Buffer.alloc((512 - (length % 512)) % 512)
}

function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`)
  let length = rest + String(rest).length
  if (rest + String(length).length !== length) length = rest + String(length).length
  return `${length} ${key}=${value}\n`
}
