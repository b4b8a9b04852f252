// Compiles the command for the Node.js that runs this, called when the package is built and when it is installed. The engine would
// else compile every function when it is first called, in every process, and a mount is two of them: of the processor time of
// `ocimount ls` with a full cache, 0.33 s, and 0.11 s of Node.js itself, it saves 0.09 s.
//
// What is compiled lies beside its bundle, whose name has a hash of it, under the engine's tag, which has version and flags. This
// never fails, since everything works without, and in a checkout there may be nothing to compile yet.

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cachedDataVersionTag, setFlagsFromString } from 'node:v8'
import { Script } from 'node:vm'

const self = fileURLToPath(import.meta.url)
const dist = fileURLToPath(new URL('../dist/', import.meta.url))
const [bundle] = process.argv.slice(2)

if (bundle !== undefined) compile(bundle)
else if (existsSync(join(dist, 'program'))) {
  await compileAll().catch((error) => {
    console.error(`ocimount: goes on without being compiled, and starts slower: ${error.message}`)
  })
}

/** The flags are part of the tag, so that each bundle is compiled under those that it runs with. */
async function compileAll() {
  const { SERVER_FLAGS } = await import('../dist/server-options.js')
  const flagsOf = {
    main: [[]],
    command: [[]],
    'server-main': [SERVER_FLAGS],
    'layer-worker': [[], SERVER_FLAGS],
    undici: [[], SERVER_FLAGS],
    zstddec: [[], SERVER_FLAGS],
  }
  const program = join(dist, 'program')
  const files = readdirSync(program)
  for (const [name, runs] of Object.entries(flagsOf)) {
    const bundle = files.find((file) => file.startsWith(name) && file.endsWith('.bundle.js'))
    for (const flags of runs)
      execFileSync(process.execPath, [...flags, self, join(program, bundle)])
  }
}

function compile(path) {
  const name = `${path}.${cachedDataVersionTag()}`
  const temporary = `${name}.${process.pid}.new`
  setFlagsFromString('--no-lazy')
  const script = new Script(readFileSync(path, 'latin1'), { filename: path })
  setFlagsFromString('--lazy')
  // The engine compares lengths and looks at no byte: from half a file, as a power cut leaves it, it would crash for ever after.
  writeFileSync(temporary, script.createCachedData(), { flush: true })
  renameSync(temporary, name)
}
