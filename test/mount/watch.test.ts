// What the kernel announces, and what is seen by the clock without the addon.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { ownerTagOf } from '../../src/cache/process-owner.js'
import { watchProcess } from '../../src/mount/watch.js'
import { loadNative } from '../../src/native.js'
import { addonSkipReason } from '../helpers/native-addon.js'
import { scratchDirectory } from '../helpers/with-mount.js'

const CHILD = fileURLToPath(new URL('watch-child.js', import.meta.url))

// What is tested keeps nobody alive.
const alive = setInterval(() => undefined, 1000)
t.teardown(() => {
  clearInterval(alive)
})

t.test(
  'watchProcess() tells once of the end of a process, and at once of an earlier one',
  async (t) => {
    const child = spawn('sleep', ['1000'])
    const tag = ownerTagOf(child.pid ?? 0) ?? ''
    const closed = watchProcess(tag, () => t.fail('it was closed'))
    closed.close()
    closed.close()
    const told: string[] = []
    const ended = new Promise<void>((resolve) =>
      watchProcess(tag, () => {
        told.push('one')
        resolve()
      }),
    )
    child.kill('SIGKILL')
    await Promise.all([ended, once(child, 'exit')])
    await new Promise<void>((resolve) => watchProcess(tag, resolve))
    // Another process has the number: the test's own, which lives.
    const reused = tag.replace(/^\d+/, String(process.pid))
    await new Promise<void>((resolve) => watchProcess(reused, resolve))
    t.strictSame(told, ['one'])
  },
)

t.test(
  'watchMounts() tells of a mount',
  { skip: process.getuid?.() !== 0 && 'needs root' },
  async (t) => {
    // In a namespace of its own, where no other test changes anything.
    const args = ['--mount', process.execPath, CHILD, scratchDirectory(t)]
    t.equal(spawnSync('unshare', args, { timeout: 60_000, encoding: 'utf8' }).stdout, 'told\n')
  },
)

t.test(
  'a Watch keeps neither a process nor a worker alive',
  { skip: addonSkipReason() },
  async (t) => {
    const native = loadNative()
    t.throws(() => native && new native.Watch({ pid: 2 ** 22 + 1, onEvent: () => undefined }), {
      code: 'ESRCH',
    })
    t.throws(() => native && new native.Watch({ pid: 1.5, onEvent: () => undefined }), TypeError)
    const script = `
    const native = require('node-gyp-build')('native-bindings')
    for (const pid of [0, process.pid]) new native.Watch({ pid, onEvent() {} })`
    t.equal(spawnSync(process.execPath, ['-e', script], { timeout: 20_000 }).status, 0)
    const [code] = (await once(new Worker(script, { eval: true }), 'exit')) as [number]
    t.equal(code, 0)
  },
)
