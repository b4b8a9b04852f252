// Bundles src/ into the few files of dist/ that run, called by `npm run build`. Node.js resolves and compiles some hundred
// modules in 78 ms, the same code in a handful of files in 33 ms, and every mount waits for that. All files lie in one
// directory, so that `new URL('./server-main.js', import.meta.url)` means the same in every one of them.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: {
    index: 'src/index.ts',
    main: 'src/cli/main.ts',
    'server-main': 'src/cli/server-main.ts',
    'layer-worker': 'src/layer/layer-worker.ts',
    // Read by scripts/make-man.mjs.
    commands: 'src/cli/commands.ts',
  },
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // Dependencies stay packages of their own, each behind its door and loaded when it is needed. What every call needs is
  // only a development dependency, and becomes part of the program: yargs and its packages are 30 modules to resolve.
  external: Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }),
  metafile: true,
})
writeFileSync(join(root, 'dist/LICENSES'), licensesOf(Object.keys(metafile.inputs)))

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
