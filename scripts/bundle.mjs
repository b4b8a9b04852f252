// Bundles src/ into the few files of dist/ that run, called by `npm run build`. Node.js resolves and compiles some hundred
// modules in 78 ms, the same code in a handful of files in 33 ms, and every mount waits for that.
//
//   dist/*.js            the library: modules that share chunks
//   dist/program/*.js    the command: each entry one script of its own, which src/launcher.ts runs with the code that was compiled
//                        when it was installed (scripts/compile-program.mjs)
//
// The entries of either lie in one directory, so that `new URL('./layer-worker.js', import.meta.url)` means the same in every file.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const program = join(root, 'dist/program')

const COMMON = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  metafile: true,
}
const DEFINE = { 'import.meta.url': 'moduleUrl', 'import.meta.dirname': '__dirname' }
// Dependencies stay packages of their own, each behind its door and loaded when it is needed. What every call needs is
// only a development dependency, and becomes part of the program: yargs and its packages are 30 modules to resolve. smol-toml, which
// whoever asks a registry needs, is a part of it too, and a dependency of the library.
const external = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })
const notInProgram = external.filter((name) => name !== 'smol-toml')

await build({
  ...COMMON,
  entryPoints: {
    index: 'src/index.ts',
    'layer-worker': 'src/layer/layer-worker.ts',
    // Read by scripts/make-man.mjs and scripts/compile-program.mjs.
    commands: 'src/cli/commands.ts',
    'server-options': 'src/cli/server-options.ts',
  },
  outdir: 'dist',
  splitting: true,
  format: 'esm',
  external,
})

// What was compiled belongs to one bundle: neither outlives the other.
rmSync(program, { recursive: true, force: true })
mkdirSync(program, { recursive: true })
writeFileSync(join(program, 'package.json'), '{ "type": "commonjs" }\n')
// Large and seldom needed: bundles of their own, loaded when they are asked for, and compiled like the others.
const seldom = {
  name: 'seldom',
  setup({ onResolve }) {
    onResolve({ filter: /^undici$/ }, () => ({ path: './undici.js', external: true }))
    onResolve({ filter: /^zstddec\/stream$/ }, () => ({ path: './zstddec.js', external: true }))
  },
}
// undici speaks HTTP/2 where it is told to, which nobody does, and goes without the module where there is none. It takes 18 ms.
const withoutHttp2 = {
  name: 'without-http2',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:http2$/ }, () => ({ path: 'http2', namespace: 'none' }))
    onLoad({ filter: /^/, namespace: 'none' }, () => ({ contents: 'exports.constants = {}' }))
  },
}
const inputs = [
  // What it only names, the commands, is in a bundle of its own.
  await bundle({ main: 'src/cli/main.ts' }, { external: ['./command.js', './*-command.js'] }),
  await bundle(
    {
      command: 'src/cli/command.ts',
      'server-main': 'src/cli/server-main.ts',
      'layer-worker': 'src/layer/layer-worker.ts',
    },
    { external: notInProgram, plugins: [seldom] },
  ),
  await bundle({ undici: 'scripts/undici-parts.mjs' }, { plugins: [withoutHttp2] }),
  // It would decode its base64 by fetch(), for which Node.js compiles a client of its own: 50 ms, in every thread.
  await bundle({ zstddec: 'zstddec/stream' }, { define: { ...DEFINE, fetch: 'undefined' } }),
]
writeFileSync(join(root, 'dist/LICENSES'), licensesOf(inputs.flat()))

/** Bundles each entry, with a launcher; gives the files that they were made of. */
async function bundle(entryPoints, options) {
  const { metafile } = await build({
    ...COMMON,
    entryPoints,
    outdir: 'dist/program',
    entryNames: '[name]-[hash].bundle',
    format: 'cjs',
    // The engine forgets for compiled code who is to import for it.
    supported: { 'dynamic-import': false },
    define: DEFINE,
    ...options,
    banner: {
      js: `(function (require, module, __filename, __dirname) {
const moduleUrl = require('node:url').pathToFileURL(__filename).href`,
    },
    footer: { js: '})' },
  })
  for (const path of Object.keys(metafile.outputs)) await writeLauncher(basename(path))
  return Object.keys(metafile.inputs)
}

/** Makes NAME.js, which runs NAME-HASH.bundle.js. */
async function writeLauncher(file) {
  const name = file.replace(/-[^-]*$/, '')
  await build({
    ...COMMON,
    entryPoints: ['src/launcher.ts'],
    outfile: join(program, `${name}.js`),
    format: 'cjs',
    define: { BUNDLE: JSON.stringify(file) },
    banner: { js: '#!/usr/bin/env node' },
  })
}

/** Gives the name and the license of each package that the program has parts of, as their licenses ask for. */
function licensesOf(inputs) {
  const packages = new Set(
    inputs.map((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]),
  )
  packages.delete(undefined)
  return [...packages]
    .sort()
    .map((path) => {
      const { name, version } = JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8'))
      const license = readdirSync(join(root, path)).find((file) => /^licen[cs]e/i.test(file))
      if (license === undefined) throw new Error(`${name} has no license file`)
      return `${name} ${version}\n\n${readFileSync(join(root, path, license), 'utf8').trim()}\n`
    })
    .join('\n----\n\n')
}
