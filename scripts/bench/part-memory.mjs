// What a live mount costs: the proportional set size of the processes that serve it, and the page cache that reading all
// of it fills. Served by a copy of the `node` binary, so that no other Node.js program pays for a part of its pages.

import { copyFileSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { dropCaches, run, sleep } from './measure.mjs'
import { Ocimount } from './ocimount.mjs'

/** A server tidies up within three seconds of the last of its work. */
const SETTLING_MS = 5000

export function measureMemory({ images, ocimount, samples, runs }) {
  const node = join(ocimount.work, 'node')
  copyFileSync(process.execPath, node)
  const own = new Ocimount(ocimount.work, node)
  const caches = { plain: own.filledCache(images.plain) }
  const readAll = () =>
    run('sh', ['-c', 'find . -type f -exec cat {} + >/dev/null'], { cwd: own.mountpoint })
  samples.add('memory.plain.bytes', statSync(images.plain).size)
  for (let turn = 0; turn < runs; turn++) {
    for (const image of ['plain', 'big']) {
      for (const driver of ['kernel', 'fuse']) {
        // A first mount, which has indexed and verified, and then a second one, which has not.
        const cache = own.freshCache()
        for (const which of ['first', 'second']) {
          const { pid } = own.mount(images[image], cache, `--driver=${driver}`)
          own.waitUntilVerified()
          readAll()
          sleep(SETTLING_MS)
          samples.add(`memory.${image}.${driver}.${which}.pss`, pssOfSession(pid))
          own.umount()
        }
        rmSync(cache, { recursive: true })
      }
    }
    for (const [name, ...options] of [
      ['kernel', '--driver=kernel'],
      ['direct', '--driver=kernel', '--direct'],
      ['fuse', '--driver=fuse'],
    ]) {
      try {
        own.mount(images.plain, caches.plain, ...options)
      } catch (error) {
        process.stderr.write(`bench: leaving out ${name}: ${error.message.trim()}\n`)
        continue
      }
      dropCaches()
      const before = pageCache()
      readAll()
      samples.add(`memory.cache.${name}`, pageCache() - before)
      own.umount()
    }
  }
}

/** Bytes of all processes in the session that a process leads. */
function pssOfSession(leader) {
  let total = 0
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      // After the name in brackets: state, parent, process group, session.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ')
      if (Number(fields[3]) !== leader) continue
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
      total += Number(/^Pss: +(\d+) kB$/m.exec(rollup)[1]) * 1024
    } catch (error) {
      if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error
    }
  }
  return total
}

function pageCache() {
  sleep(200)
  return Number(/^Cached: +(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))[1]) * 1024
}
