// The bundled command and what was compiled of it (src/launcher.ts, scripts/compile-program.mjs).

import { execFileSync } from 'node:child_process'
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { SERVER_FLAGS } from '../src/cli/server-options.js'
import { MAIN } from './helpers/run-cli.js'

const PROGRAM = dirname(MAIN)

t.test('what was compiled is what the engine takes', (t) => {
  const check = `
    const { readFileSync } = require('node:fs')
    const [bundle] = process.argv.slice(1)
    const cachedData = readFileSync(bundle + '.' + require('node:v8').cachedDataVersionTag())
    const script = new (require('node:vm').Script)(readFileSync(bundle, 'latin1'), { cachedData })
    process.stdout.write(String(script.cachedDataRejected))`
  for (const [name, flags] of [
    ['main', []],
    ['command', []],
    ['server-main', SERVER_FLAGS],
    ['layer-worker', []],
    ['layer-worker', SERVER_FLAGS],
    ['undici', []],
    ['undici', SERVER_FLAGS],
    ['zstddec', []],
    ['zstddec', SERVER_FLAGS],
  ] as const) {
    const bundle = readdirSync(PROGRAM).find((file) => isBundleOf(name, file)) ?? 'none'
    const args = [...flags, '-e', check, join(PROGRAM, bundle)]
    t.equal(execFileSync(process.execPath, args, { encoding: 'utf8' }), 'false', name)
  }
  t.end()
})

t.test('what is missing, cut or wrong of it is compiled again', (t) => {
  const help = (main: string): string =>
    execFileSync(process.execPath, [main, '--help'], { encoding: 'utf8' })
  const wanted = help(MAIN)
  for (const [name, harm] of [
    [
      'missing',
      (path: string) => {
        rmSync(path)
      },
    ],
    [
      'empty',
      (path: string) => {
        truncateSync(path, 0)
      },
    ],
    [
      'cut',
      (path: string) => {
        truncateSync(path, 100_000)
      },
    ],
    [
      'of another bundle',
      (path: string) => {
        writeFileSync(path, compiledOf('layer-worker'))
      },
    ],
    [
      'no compiled code at all',
      (path: string) => {
        writeFileSync(path, Buffer.alloc(100_000, 'x'))
      },
    ],
  ] as const) {
    // Beside the program, where its packages are found.
    const copy = mkdtempSync(`${PROGRAM}-test-`)
    t.teardown(() => {
      rmSync(copy, { recursive: true })
    })
    cpSync(PROGRAM, copy, { recursive: true })
    harm(join(copy, compiledName('command')))
    t.equal(help(join(copy, 'main.js')), wanted, name)
  }
  t.end()
})

function isBundleOf(name: string, file: string): boolean {
  return new RegExp(`^${name}-[^-]*\\.bundle\\.js$`).test(file)
}

function compiledName(name: string): string {
  const file = readdirSync(PROGRAM).find((file) =>
    new RegExp(`^${name}-[^-]*\\.bundle\\.js\\.\\d+$`).test(file),
  )
  if (file === undefined) throw new Error(`${name} is not compiled`)
  return file
}

function compiledOf(name: string): Buffer {
  return readFileSync(join(PROGRAM, compiledName(name)))
}
