// 200 readers at once, each at random places of the image, 4 KiB at a time: what a server can answer. The mount is
// fresh and the archive is in the page cache, so that neither the kernel's copy nor the disk answers instead.

import { dropCaches, run } from './measure.mjs'

const READERS = 200
/** Per reader: few enough that most places are read for the first time. */
const READS = 100

export function measureReaders({ images, ocimount, samples, runs }) {
  const cache = ocimount.filledCache(images.plain)
  for (let turn = 0; turn < runs; turn++) {
    for (const driver of ['kernel', 'fuse', 'fuse-native']) {
      dropCaches()
      run('sh', ['-c', 'cat "$1" >/dev/null', 'sh', images.plain])
      ocimount.mount(images.plain, cache, `--driver=${driver}`)
      try {
        const args = [ocimount.mountpoint, String(READERS), String(READS)]
        const { reads, seconds } = JSON.parse(run(images.readers, args).stdout)
        samples.add(`readers.${driver}`, reads / seconds)
      } finally {
        ocimount.umount()
      }
    }
  }
}
