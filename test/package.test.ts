// What is published: packed, installed into an empty prefix, and run from there.

import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

const run = promisify(execFile)

t.test('npm pack and npm install -g work in an empty prefix, without a compiler', async (t) => {
  const dir = mkdtempSync('/var/tmp/ocimount-pack-')
  t.teardown(() => {
    rmSync(dir, { recursive: true, force: true })
  })
  // Packed without its scripts: scripts/test has built dist/ already.
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', dir])
  const [tarball] = readdirSync(dir).filter((name) => name.endsWith('.tgz'))
  const prefix = join(dir, 'prefix')
  await run(
    'npm',
    ['install', '-g', '--prefix', prefix, '--no-audit', '--no-fund', join(dir, tarball ?? '')],
    // With one the addon is compiled in the same way as in this checkout, which takes its time.
    { timeout: 240_000, env: { ...process.env, CC: '/bin/false', CXX: '/bin/false' } },
  )

  const command = join(prefix, 'bin/ocimount')
  const { stdout: version } = await run(command, ['--version'])
  const { version: wanted } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    version: string
  }
  t.equal(version.trim(), wanted)

  const page = join(prefix, 'share/man/man1/ocimount.1')
  t.ok(existsSync(page), 'a man page is installed')
  const text = readFileSync(page, 'utf8')
  for (const word of ['.TH OCIMOUNT 1', 'umount', 'validate', 'Exit status', '\\-\\-writable']) {
    t.ok(text.includes(word), `the man page has ${word}`)
  }

  const library = join(prefix, 'lib/node_modules/ocimount')
  t.ok(existsSync(join(library, 'dist/index.d.ts')), 'types are installed')
  t.ok(existsSync(join(library, 'LICENSE')))
  t.ok(existsSync(join(library, 'dist/LICENSES')), 'as are the licenses of what is bundled')
  t.notOk(existsSync(join(library, 'test')), 'tests are not')

  // Packed is none, since what is compiled here is of use to no other version of Node.js.
  const { stdout: packed } = await run('tar', ['-tf', join(dir, tarball ?? '')])
  const isCompiled = (name: string): boolean => /\.bundle\.js\.\d+$/.test(name)
  t.strictSame(packed.split('\n').filter(isCompiled), [])
  const program = readdirSync(join(library, 'dist/program'))
  t.equal(program.filter(isCompiled).length, 9, 'the command is compiled')
})
