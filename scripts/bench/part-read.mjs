// What using the mounted image costs: walking it, packing it, reading it, starting a program of it. Cold: a fresh mount,
// then all caches of the kernel emptied; warm: the same three times more, since what takes a tenth of a second varies most.

import { filesystems } from './filesystems.mjs'
import { dropCaches, run } from './measure.mjs'

/** Each is a shell command in the root of the tree. */
export const TASKS = {
  find: "find . -printf '%s %m %p\\n' >/dev/null",
  tar: 'tar -cf - . | cat >/dev/null',
  read: 'find . -type f -print0 | xargs -0 cat >/dev/null',
  numpy: "PYTHONDONTWRITEBYTECODE=1 chroot . /usr/bin/python3 -c 'import numpy'",
}

export function measureReading({ images, ocimount, samples, runs }) {
  const caches = { plain: ocimount.filledCache(images.plain) }
  const all = filesystems({ images, ocimount, caches })
  for (let turn = 0; turn < runs; turn++) {
    for (const [task, script] of Object.entries(TASKS)) {
      for (const { name, mount, umount } of all) {
        const cwd = mount()
        try {
          dropCaches()
          for (const state of ['cold', 'warm', 'warm', 'warm']) {
            const { seconds } = run('bash', ['-o', 'pipefail', '-ec', script], { cwd })
            samples.add(`read.${name}.${task}.${state}`, seconds)
          }
        } finally {
          umount()
        }
      }
    }
  }
}
