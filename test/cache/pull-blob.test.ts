// What a pull finds that another process has left.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Cache } from '../../src/cache/cache.js'
import { pullBlob } from '../../src/cache/pull-blob.js'
import type { Digest } from '../../src/image/digest.js'
import { sha256 } from '../helpers/build-image.js'
import { fixtureDirectory } from '../helpers/native-addon.js'

const BYTES = Buffer.from('a blob')
const DIGEST = sha256(BYTES) as Digest

t.test('a pull takes away what a killed one left behind when it had named the blob', async (t) => {
  const cache = await Cache.open({ dir: join(fixtureDirectory(t), 'cache') })
  const pull = async (): Promise<void> =>
    pullBlob(cache, DIGEST, {
      size: BYTES.length,
      read: async function* () {
        yield BYTES
      },
      onMismatch: () => Promise.resolve(false),
    })
  await pull()
  const directory = cache.partialPath(DIGEST)
  t.notOk(existsSync(directory))
  mkdirSync(directory)
  writeFileSync(join(directory, 'other'), 'a b')
  await pull()
  t.notOk(existsSync(directory))
})
