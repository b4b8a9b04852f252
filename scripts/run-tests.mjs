// Runs test files of .build/test/, each in a process of its own, some of them at a time. Standard output is their TAP, standard error
// has a line for each file with its time.
//
//   node scripts/run-tests.mjs [FILE...]     without an argument all files
//
// `tap run` does so too, but has every process of Node.js that a test starts, itself included, record which modules it loads: it
// takes about 1 s of processor time for a test file. Its settings in package.json hold here as well.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const { tap: settings } = JSON.parse(readFileSync('package.json', 'utf8'))
const root = '.build/test/test'
// What fails where the process is held up for long, as it is among others: at the end, and one at a time.
const ALONE = ['registry/starved-connections']
const isAlone = (file) => ALONE.some((name) => file.endsWith(`/${name}.test.js`))

const given = process.argv.slice(2)
const files = (given.length > 0 ? given : allFiles()).sort((a, b) => isAlone(a) - isAlone(b))

t.jobs = settings.jobs
t.setTimeout(0)
t.plan(files.length)
for (const file of files) {
  const name = file.replace(/^\.build\/test\//, '')
  const timeout = settings.timeout * 1000
  const env = { ...process.env, TAP_TIMEOUT: String(settings.timeout) }
  // What runs another process gives it the recording by this variable.
  const command = ['-u', 'NODE_OPTIONS', process.execPath, '--enable-source-maps', file]
  t.spawn('env', command, { name, timeout, env, buffered: !isAlone(file) }).then(({ ok, time }) => {
    console.error(`${ok ? 'ok' : 'FAILED'} ${name} ${(time / 1000).toFixed(1)} s`)
  })
}

function allFiles() {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.js'))
    .sort()
    .map((name) => join(root, name))
}
