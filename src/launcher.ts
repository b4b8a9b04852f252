// Runs one script of the command, as the same file did before bundling: `BUNDLE`, which lies beside this. What the engine had
// compiled of it is there under the tag of the engine and its flags (scripts/compile-program.mjs); without it, as after a change of
// Node.js, the script is compiled as it runs, which takes longer.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cachedDataVersionTag } from 'node:v8'
import { Script } from 'node:vm'

/** The name of the bundle, put in by scripts/bundle.mjs. */
declare const BUNDLE: string

const file = join(__dirname, BUNDLE)
const script = new Script(readFileSync(file, 'latin1'), {
  filename: file,
  cachedData: readCompiled(`${file}.${cachedDataVersionTag()}`),
})
const run = script.runInThisContext() as (...args: unknown[]) => void
run(require, module, __filename, __dirname)

function readCompiled(name: string): Buffer | undefined {
  try {
    return readFileSync(name)
  } catch {
    return undefined
  }
}
