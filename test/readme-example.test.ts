// The README's library example, run as printed: only the paths are replaced, and what it does there is looked at.

import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cliFixture } from './helpers/cli-fixture.js'
import { corpora, whyNoMounts } from './helpers/run-cli.js'
import { fileURLToPath } from 'node:url'

const images = corpora()
const skip = whyNoMounts() || (images === undefined && 'the corpora are not on this machine')

t.test('the example of the README runs', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const mountpoint = fixture.mountpoint()
  const readme = readFileSync('README.md', 'utf8')
  const example = /<!-- example: .*-->\n+```js\n([^]*?)```/.exec(readme)?.[1] ?? ''
  t.match(example, "from 'ocimount'")
  const look = `await (await import('node:fs/promises')).writeFile(${JSON.stringify(join(fixture.dir, 'seen'))}, (await (await import('node:fs/promises')).readdir('/mnt/app')).join())`
  const code = example
    .replace(/\/\/ … .*\n/, `${look}\n`)
    .replaceAll('/mnt/app', mountpoint)
    .replaceAll('app.tar', join(images ?? '', 'images/docker-archive-14-layers.tar'))
  t.match(
    code,
    look.replaceAll('/mnt/app', mountpoint).slice(0, 20),
    'the example has a place to look',
  )

  // A package of that name, as an installation would make it.
  const modules = join(fixture.dir, 'node_modules/ocimount')
  mkdirSync(modules, { recursive: true })
  const built = fileURLToPath(new URL('../src', import.meta.url))
  symlinkSync(built, join(modules, 'dist'))
  writeFileSync(
    join(modules, 'package.json'),
    JSON.stringify({ name: 'ocimount', type: 'module', exports: './dist/index.js' }),
  )
  const script = join(fixture.dir, 'example.mjs')
  writeFileSync(script, code)

  const child = spawn(process.execPath, [script], {
    env: { ...process.env, ...fixture.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const status = await new Promise((resolve) => child.on('close', resolve))
  t.equal(status, 0, output)
  t.match(output, /^linux \d+/)
  t.match(readFileSync(join(fixture.dir, 'seen'), 'utf8'), 'bin,')
  t.strictSame(fixture.mounts(), [])
  t.not(
    execFileSync('cat', ['/proc/self/mountinfo'], { encoding: 'utf8' }).includes(mountpoint),
    true,
  )
})
