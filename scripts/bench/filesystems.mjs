// The ways to look at the Debian image as a filesystem: ours, and what a user would pick instead.

import { run } from './measure.mjs'

/** A list of { name, what, mount, umount }, `mount` giving the path; one that does not work here is left out and reported. */
export function filesystems({ images, ocimount, caches }) {
  const ours = (name, what, ...options) => ({
    name,
    what,
    mount() {
      ocimount.mount(images.plain, caches.plain, ...options)
      return ocimount.mountpoint
    },
    umount: () => ocimount.umount(),
  })
  const theirs = (name, what, command, args) => ({
    name,
    what,
    mount() {
      run(command, [...args, ocimount.mountpoint])
      return ocimount.mountpoint
    },
    umount: () => run('umount', [ocimount.mountpoint]),
  })
  return [
    { name: 'tree', what: 'extracted tree', mount: () => images.tree, umount: () => undefined },
    ours('kernel', 'ocimount, `kernel`', '--driver=kernel'),
    ours('direct', 'ocimount, `kernel --direct`', '--driver=kernel', '--direct'),
    ours('fuse', 'ocimount, `fuse`', '--driver=fuse'),
    ours('fuse-native', 'ocimount, `fuse-native`', '--driver=fuse-native'),
    theirs('erofs', "kernel's erofs, uncompressed", 'mount', [
      ...['-t', 'erofs', '-o', 'ro,loop', images.erofs],
    ]),
    theirs('squashfs', "kernel's squashfs, zstd", 'mount', [
      ...['-t', 'squashfs', '-o', 'ro,loop', images.squashfs],
    ]),
    theirs('squashfuse', 'squashfuse_ll, zstd', 'squashfuse_ll', [images.squashfs]),
  ].filter(works)
}

function works({ what, mount, umount }) {
  try {
    mount()
    umount()
    return true
  } catch (error) {
    process.stderr.write(`bench: leaving out ${what}: ${error.message.trim()}\n`)
    return false
  }
}
