// What the installation says where the addon cannot be built.

import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'

const run = promisify(execFile)
const COMPILER = /\+\+|gcc|clang|^c?cc$|^c\d\d/
const HEADERS = resolve(process.execPath, '../../include/node/node_api.h')
const skip = existsSync(HEADERS) ? false : 'there are no headers of Node.js beside it'
const REASON =
  /^ocimount: goes on without its addon, with the portable driver, slower: (.*) \(.*\)\n$/

/** What `scripts/build-native.mjs` says in a copy, where PATH lacks the programs that `lacks` tells. */
async function reasonWithout(t: Test, lacks: (program: string) => boolean): Promise<string> {
  const dir = mkdtempSync('/var/tmp/ocimount-build-')
  t.teardown(() => {
    rmSync(dir, { recursive: true, force: true })
  })
  for (const path of ['package.json', 'scripts', 'native-bindings/binding.gyp']) {
    cpSync(path, join(dir, path), { recursive: true })
  }
  cpSync('native-bindings/src', join(dir, 'native-bindings/src'), { recursive: true })
  symlinkSync(resolve('node_modules'), join(dir, 'node_modules'))
  const PATH = t.testdir()
  for (const program of readdirSync('/usr/bin')) {
    if (!lacks(program)) symlinkSync(join('/usr/bin', program), join(PATH, program))
  }
  const env: NodeJS.ProcessEnv = { ...process.env, PATH }
  for (const name of ['CC', 'CXX', 'MAKE']) Reflect.deleteProperty(env, name)
  const script = join(dir, 'scripts/build-native.mjs')
  const { stderr } = await run(process.execPath, [script], { env, timeout: 240_000 })
  t.notOk(existsSync(join(dir, 'native-bindings/build/Release/ocimount.node')))
  return REASON.exec(stderr)?.[1] ?? `something else: ${stderr}`
}

t.test('an installation without a compiler says which is missing', { skip }, async (t) => {
  const reason = await reasonWithout(t, (program) => COMPILER.test(program))
  t.match(reason, /^make: g\+\+: (No such file or directory|.*not found)$/)
})

t.test('an installation without make says so', { skip }, async (t) => {
  t.equal(await reasonWithout(t, (program) => /^g?make$/.test(program)), 'Error: not found: make')
})
