// Bundles src/ into the few files of dist/ that run; called by `npm run build`. Node.js resolves and compiles some hundred
// modules in 78 ms, the same code in a handful of files in 33 ms, and every mount waits for that. All files lie in one
// directory, so that `new URL('./server-main.js', import.meta.url)` means the same in every one of them.

import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))

await build({
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
  // Dependencies stay packages of their own, each behind its door and loaded when it is needed.
  packages: 'external',
})
