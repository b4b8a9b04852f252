// A process, or a thread of it, that ends while native threads work.

import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { addonSkipReason, fixtureDirectory } from '../helpers/native-addon.js'

const skip = addonSkipReason()

/** Starts a job and a server, and then runs `end`. */
function script(blob: string, end: string): string {
  const door = new URL('../../src/native.js', import.meta.url).href
  return `
    import { closeSync, openSync, statSync } from 'node:fs'
    import { isMainThread, parentPort, Worker } from 'node:worker_threads'
    import { loadNative } from ${JSON.stringify(door)}
    const native = loadNative()
    const blob = ${JSON.stringify(blob)}
    function startAll(onFirst) {
      const stretch = { fd: openSync(blob), offset: 0, length: statSync(blob).size }
      const hashes = { blobHash: 'sha256', deviceHash: 'sha256' }
      const limits = { spanSize: 32768, maxOutput: 1e12 }
      let chunks = 0
      const job = new native.GzipIndexJob({ blob: stretch, ...hashes, ...limits }, () => {
        if (++chunks === 1) onFirst?.()
      })
      const server = new native.FuseServer({
        fd: native.openFuseDevice(),
        kind: 'flat',
        metadata: undefined,
        devices: [{ kind: 'memory', size: 1, bytes: Buffer.from('x') }],
        threads: 2,
        checksAccess: false,
        onMiss: () => undefined,
        onFault: () => undefined,
      })
      return { job, server }
    }
    ${end}`
}

const ENDS: Readonly<Record<string, string>> = {
  'process.exit with everything under way': 'startAll(() => process.exit(0))',
  'process.exit before the first event': 'startAll(); process.exit(0)',
  'an end by itself, once all has ended': `
    const { job, server } = startAll()
    await job.done
    server.stop()
    await server.ended`,
  'an end by itself without waiting': 'const { server } = startAll(); server.stop()',
  'objects that are collected meanwhile': `
    let ends = 0
    for (let i = 0; i < 5; i++) {
      const { job, server } = startAll()
      job.done.then((result) => { ends += result.status === 'done' })
      server.stop()
      server.ended.then(() => ends++)
    }
    const timer = setInterval(() => global.gc(), 1)
    while (ends < 10) await new Promise((resolve) => setTimeout(resolve, 5))
    clearInterval(timer)`,
  'a worker that is terminated, and a new one': `
    if (isMainThread) {
      for (let i = 0; i < 3; i++) {
        const worker = new Worker(new URL(import.meta.url))
        await new Promise((resolve) => worker.once('message', resolve))
        await worker.terminate()
      }
    } else {
      startAll(() => parentPort.postMessage('first'))
    }`,
  'an error that nobody catches': `
    process.once('uncaughtException', () => process.exit(0))
    startAll(() => setImmediate(() => { throw new Error('x') }))`,
}

for (const [name, end] of Object.entries(ENDS)) {
  t.test(name, { skip }, async (t) => {
    const directory = fixtureDirectory(t)
    const blob = join(directory, 'blob')
    writeFileSync(blob, gzipSync(Buffer.alloc(30 << 20, 'some text '), { level: 1 }))
    const file = join(directory, 'script.mjs')
    writeFileSync(file, script(blob, end))
    const options = { timeout: 60_000, encoding: 'utf8' } as const
    for (let round = 0; round < 3; round++) {
      const { stderr } = await promisify(execFile)(process.execPath, ['--expose-gc', file], options)
      t.equal(stderr, '')
    }
  })
}
