// `ocimount stat IMAGE PATH…`

import { byteStringOf, escapeName, escapeText, textOf } from '../byte-string.js'
import type { ErofsImage } from '../erofs/reader.js'
import { resolvePath } from '../rootfs/resolve-path.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { fileRow, modeString } from './file-listing.js'
import { printJson, printResult } from './output.js'
import { withRootfs } from './with-rootfs.js'

/** Shows everything about single files; symlinks themselves, not what they point to. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  return withRootfs(args, ({ image }) => {
    const rows = args.paths.map((path) => {
      const nid = resolvePath(image, byteStringOf(path), { followLast: false })
      return { nid, row: { ...fileRow(image, byteStringOf(path), nid), ...xattrs(image, nid) } }
    })
    if (args.json) printJson(rows.map(({ row }) => row))
    else printResult(rows.map(({ nid, row }) => format(row, image.inode(nid).mode)).join('\n'))
    return Promise.resolve(EXIT.done)
  })
}

function xattrs(image: ErofsImage, nid: number): Record<string, unknown> {
  const found: [string, string][] = []
  for (const name of image.listxattr(nid)) {
    const value = image.getxattr(nid, name)
    if (value !== undefined) found.push([escapeName(name), value.toString('hex')])
  }
  return found.length === 0 ? {} : { xattrs: Object.fromEntries(found) }
}

function format(row: Record<string, unknown>, mode: number): string {
  const lines: [string, string][] = []
  for (const [key, value] of Object.entries(row)) {
    if (key === 'mode') lines.push(['mode', `${String(value)} ${modeString(mode)}`])
    else if (key === 'xattrs') {
      for (const [name, hex] of Object.entries(value as Record<string, string>))
        lines.push(['xattr', xattrLine(name, hex)])
    } else lines.push([key, escapeIfText(value)])
  }
  return lines.map(([key, value]) => `${key.padEnd(7)} ${value}\n`).join('')
}

// Values are bytes: shown as text where they are printable, else in hexadecimal, as getfattr does.
function xattrLine(name: string, hex: string): string {
  const bytes = Buffer.from(hex, 'hex')
  const text = textOf(bytes.toString('latin1') as never)
  return text !== undefined && text !== '' && escapeText(text) === text
    ? `${name}="${text}"`
    : `${name}=0x${hex}`
}

function escapeIfText(value: unknown): string {
  return typeof value === 'string' ? escapeText(value).replaceAll('\\x5c', '\\') : String(value)
}
