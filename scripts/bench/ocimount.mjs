// Mounts and unmounts by the command that a user types.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run, sleep } from './measure.mjs'

const command = fileURLToPath(new URL('../../dist/program/main.js', import.meta.url))

export class Ocimount {
  #caches = 0

  /** `work`: a directory for what is thrown away afterwards; `node`: the Node.js to run it with. */
  constructor(work, node = process.execPath) {
    this.work = work
    this.node = node
    this.mountpoint = join(work, 'rootfs')
    mkdirSync(this.mountpoint, { recursive: true })
  }

  freshCache() {
    return join(this.work, `cache-${++this.#caches}`)
  }

  /** Gives what the command says of the mount, and `wall`: the seconds that the user waited. */
  mount(image, cache, ...options) {
    const { seconds, stdout } = run(this.node, [
      ...[command, 'mount', '--json', '--cache-dir', cache],
      ...[...options, image, this.mountpoint],
    ])
    return { ...JSON.parse(stdout), wall: seconds }
  }

  /** Waits until what is mounted is hashed, so that the next mount finds it in the cache. */
  waitUntilVerified() {
    for (;;) {
      const { verification } = this.status()
      if (verification === 'verified') return
      if (verification === 'failed') throw new Error('verification failed')
      sleep(200)
    }
  }

  /** Gives what `status` says of the mount. */
  status() {
    const { stdout } = run(this.node, [command, 'status', '--json', this.mountpoint])
    return JSON.parse(stdout)
  }

  /** Runs a command; gives seconds and what it printed. */
  command(name, args) {
    return run(this.node, [command, name, ...args])
  }

  umount(...options) {
    run(this.node, [command, 'umount', ...options, this.mountpoint])
  }

  /** A cache in which the image is indexed and verified. */
  filledCache(image) {
    const cache = this.freshCache()
    this.mount(image, cache)
    this.waitUntilVerified()
    this.umount()
    return cache
  }
}
