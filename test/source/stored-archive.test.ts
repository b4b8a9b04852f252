import { appendFileSync, readFileSync, readdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { LocalFile } from '../../src/source/local-file.js'
import { decodeArchive } from '../../src/source/stored-archive.js'
import { compress } from '../helpers/build-image.js'
import { packMembers, file } from '../helpers/tar-members.js'
import { testCache } from './support.js'

/** More than one read of the input, so that there is a middle. */
const PLAIN = packMembers([file('noise', noise(3 * 1024 * 1024))])

function compressed(t: Test): LocalFile {
  const path = join(t.testdir({}), 'a.tar.gz')
  writeFileSync(path, compress(PLAIN, 'gzip'))
  const opened = LocalFile.open(path)
  t.teardown(() => {
    opened.close()
  })
  return opened
}

function inCache(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /^(?:decoded|tmp|locks)\/./.test(name),
  )
}

t.test('decodeArchive() does the work once for all who want it', async (t) => {
  const cache = await testCache(t)
  const source = compressed(t)
  let finished = 0
  const onProgress = ({ done, total }: { done: number; total: number }): void => {
    if (done === total) finished++
  }
  const files = await Promise.all(
    [1, 2, 3].map(() => decodeArchive(source, 'gzip', { cache, onProgress })),
  )
  for (const plain of files) {
    t.strictSame(readFileSync(plain.path), PLAIN)
    t.strictSame(plain.identity, files[0]?.identity)
    plain.close()
  }
  t.equal(finished, 1)
  t.equal(inCache(cache.root).filter((name) => /^decoded\/[0-9a-f]{64}$/.test(name)).length, 1)
})

t.test(
  'decodeArchive() keeps nothing of a file that changed, of a bomb, of what was interrupted',
  async (t) => {
    const cache = await testCache(t)
    const changing = compressed(t)
    const change = (): void => {
      appendFileSync(changing.path, 'x')
    }
    await t.rejects(decodeArchive(changing, 'gzip', { cache, onProgress: change }), {
      code: 'SOURCE_CHANGED',
    })
    const shrinking = compressed(t)
    const shrink = (): void => {
      truncateSync(shrinking.path, 100)
    }
    await t.rejects(decodeArchive(shrinking, 'gzip', { cache, onProgress: shrink }), {
      code: 'SOURCE_CHANGED',
    })
    await t.rejects(decodeArchive(compressed(t), 'gzip', { cache, maxBytes: 1024 * 1024 }), {
      code: 'LIMIT_EXCEEDED',
    })
    const abort = new AbortController()
    const onProgress = (): void => {
      abort.abort()
    }
    await t.rejects(
      decodeArchive(compressed(t), 'gzip', { cache, onProgress, signal: abort.signal }),
      { code: 'INTERRUPTED' },
    )
    t.strictSame(inCache(cache.root), [])
  },
)

t.test(
  'LocalFile reads within the file that was opened, and notices that it changed',
  async (t) => {
    const path = join(t.testdir({ x: 'hello' }), 'x')
    const opened = LocalFile.open(path)
    t.equal((await opened.read(1, 3)).toString(), 'ell')
    t.equal((await opened.read(3, 100)).toString(), 'lo')
    t.equal((await opened.read(100, 1)).length, 0)
    opened.refuseChange()
    appendFileSync(path, ' world')
    t.equal((await opened.read(0, 100)).toString(), 'hello', 'what was added is not seen')
    t.throws(
      () => {
        opened.refuseChange()
      },
      { code: 'SOURCE_CHANGED' },
    )
    truncateSync(path, 2)
    await t.rejects(opened.read(0, 5), { code: 'SOURCE_CHANGED' })
    opened.close()
    opened.close()
    await t.rejects(opened.read(0, 5), { code: 'INTERNAL' })
    t.throws(() => LocalFile.open(`${path}-not`), { code: 'FILE_NOT_FOUND' })
  },
)

/** Bytes that do not compress, always the same ones. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  let state = 1
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[at] = state >>> 24
  }
  return bytes
}
