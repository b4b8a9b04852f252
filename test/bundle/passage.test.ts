// The way to a bundle whose container has ids of its own.

import { lstatSync, mkdirSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { letThrough } from '../../src/bundle/passage.js'
import type { RuntimeConfig } from '../../src/bundle/runtime-config.js'

const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }]
const config = {
  linux: { uidMappings: mappings, gidMappings: mappings },
} as unknown as RuntimeConfig
const skip = process.getuid?.() === 0 ? false : 'it needs root'

t.test(
  'letThrough() gives away a directory, and nothing that took its name',
  { skip },
  async (t) => {
    const directory = t.testdir()
    const [secret, bundle, name] = ['secret', 'bundle', 'name'].map((part) =>
      join(directory, part),
    ) as [string, string, string]
    for (const path of [secret, bundle]) mkdirSync(path, { mode: 0o700 })
    await letThrough(bundle, config)
    t.match(statSync(bundle), { uid: 0, gid: 100_000, mode: 0o040710 })
    symlinkSync(secret, name)
    await t.rejects(letThrough(name, config), { code: /ENOTDIR|ELOOP/ })
    t.match(statSync(secret), { uid: 0, gid: 0, mode: 0o040700 })
    t.match(lstatSync(name), { gid: 0 })
  },
)
