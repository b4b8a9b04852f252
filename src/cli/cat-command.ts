// `ocimount cat IMAGE PATH…`

import { byteStringOf, escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { RootfsOperations } from '../mount/operations.js'
import { resolvePath } from '../rootfs/resolve-path.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { printBytes } from './output.js'
import { withRootfs } from './with-rootfs.js'

const CHUNK_SIZE = 1 << 20

/** Writes the content of files to standard output, byte by byte as it is. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  return withRootfs(args, async ({ image, devices }) => {
    const files = args.paths.map((path) => {
      const nid = resolvePath(image, byteStringOf(path), { followLast: true })
      const inode = image.inode(nid)
      if ((inode.mode & 0o170000) !== 0o100000) {
        throw new OcimountError(
          'PATH_NOT_FOUND',
          `Cannot print ${escapeText(path)}: it is not a regular file`,
        )
      }
      return { nid, size: inode.size }
    })
    const operations = new RootfsOperations({ image, devices })
    const buffer = Buffer.allocUnsafe(CHUNK_SIZE)
    for (const { nid, size } of files) {
      for (let fileOffset = 0; fileOffset < size; fileOffset += CHUNK_SIZE) {
        const length = await operations.read(nid, buffer, fileOffset)
        printBytes(buffer.subarray(0, length))
      }
    }
    return EXIT.done
  })
}
