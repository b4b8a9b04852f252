// What the conversion may see of an image's files: its merged tree, and the content of single files. Nothing in
// this room opens a path that an image had a say in.

import type { ErofsImage } from '../erofs/reader.js'
import type { LayerDevice } from '../layer/device.js'
import { readContent } from '../rootfs/read-content.js'

export interface ImageTree {
  readonly image: ErofsImage
  /**
   * Gives the whole content of a regular file, whose size the caller has checked.
   *
   * @throws OcimountError what reading a layer throws, `CACHE_CORRUPT`
   */
  readFile(nid: number): Promise<Buffer>
}

/** Makes the tree of a built rootfs readable; usable for as long as its devices are open. */
export function treeOf(rootfs: {
  readonly image: ErofsImage
  readonly devices: readonly LayerDevice[]
}): ImageTree {
  const { image } = rootfs
  return {
    image,
    readFile: async (nid) => {
      const content = Buffer.alloc(image.inode(nid).size)
      await readContent(rootfs, { nid, target: content, fileOffset: 0 })
      return content
    },
  }
}
