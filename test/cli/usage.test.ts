// Command lines that make no sense, and what the command says of itself.

import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { COMMANDS } from '../../src/cli/commands.js'
import { runProgram } from '../../src/cli/program.js'
import { TERMINAL_CODES } from '../helpers/cli-checks.js'
import { cliFixture } from '../helpers/cli-fixture.js'
import { COMMAND, runCli } from '../helpers/run-cli.js'
import { HOSTILE, writeSample } from './sample-image.js'

const UNDERSTAND = 'Cannot understand the command line:'
const HELP = '(see ocimount --help)'

const REFUSED: readonly (readonly [args: readonly string[], message: string])[] = [
  [[], `${UNDERSTAND} mount needs IMAGE and MOUNTPOINT ${HELP}`],
  [['app.tar'], `${UNDERSTAND} mount needs IMAGE and MOUNTPOINT ${HELP}`],
  [['mount', 'app.tar'], `${UNDERSTAND} mount needs IMAGE and MOUNTPOINT ${HELP}`],
  [['app.tar', '/mnt', 'more'], `${UNDERSTAND} unknown argument: more ${HELP}`],
  [['list', 'more'], `${UNDERSTAND} unknown argument: more ${HELP}`],
  [['ls'], `${UNDERSTAND} ls needs IMAGE ${HELP}`],
  [['cat', 'app.tar'], `${UNDERSTAND} cat needs IMAGE and PATH… ${HELP}`],
  [['umount'], `${UNDERSTAND} umount needs MOUNTPOINT ${HELP}`],
  [['cache'], `${UNDERSTAND} cache needs ACTION ${HELP}`],
  [['cache', 'wipe'], `${UNDERSTAND} ACTION takes du, verify, prune, not "wipe" ${HELP}`],
  [['completion', 'zsh'], `${UNDERSTAND} completion takes no arguments ${HELP}`],
  [['--nope', 'app.tar', '/mnt'], `${UNDERSTAND} there is no option --nope ${HELP}`],
  [['--nope=1', 'app.tar', '/mnt'], `${UNDERSTAND} there is no option --nope ${HELP}`],
  [['ls', 'app.tar', '--nope'], `${UNDERSTAND} there is no option --nope ${HELP}`],
  [['ls', '-lZ', 'app.tar'], `${UNDERSTAND} there is no option -Z ${HELP}`],
  [['cat', '--json', 'app.tar', 'a'], `${UNDERSTAND} there is no option --json ${HELP}`],
  [
    ['--driver', 'nbd', 'app.tar', '/mnt'],
    `${UNDERSTAND} --driver takes auto, kernel, fuse, fuse-native, not "nbd" ${HELP}`,
  ],
  [['cache', 'prune', '--max-size'], `${UNDERSTAND} --max-size needs a value ${HELP}`],
  [['cache', 'prune'], 'Cannot prune the cache: --max-size says how much may stay (0 for nothing)'],
  [
    ['cache', 'prune', '--max-size', 'all'],
    'Cannot understand size "all": write 500M, 20G or bytes',
  ],
  [['ls', '--ref', 'a', '--ref', 'b', 'app.tar'], 'Cannot use --ref more than once'],
  [['tree', '-L', 'two', 'app.tar'], 'Cannot use --depth: it takes a number of levels from 1 on'],
  [['tree', '-L', '0', 'app.tar'], 'Cannot use --depth: it takes a number of levels from 1 on'],
  [['tree', '-L', '-1', 'app.tar'], 'Cannot use --depth: it takes a number of levels from 1 on'],
  [['tree', '-L', '1.5', 'app.tar'], 'Cannot use --depth: it takes a number of levels from 1 on'],
  // An unset variable of a script must not become the working directory.
  [['app.tar', ''], `${UNDERSTAND} MOUNTPOINT is empty ${HELP}`],
  [['', '/mnt'], `${UNDERSTAND} IMAGE is empty ${HELP}`],
  [['umount', '-l', ''], `${UNDERSTAND} MOUNTPOINT is empty ${HELP}`],
  [['status', ''], `${UNDERSTAND} MOUNTPOINT is empty ${HELP}`],
  [['ls', 'app.tar', 'a', ''], `${UNDERSTAND} PATH is empty ${HELP}`],
  [['--cache-dir=', 'app.tar', '/mnt'], 'Cannot use --cache-dir: its value is empty'],
  [['--writable=', 'app.tar', '/mnt'], 'Cannot use --writable: its value is empty'],
  [
    ['-o', 'ro,writable=', 'app.tar', '/mnt'],
    'Cannot use mount option writable: its value is empty',
  ],
  [
    ['-o', 'cache_dir=', 'app.tar', '/mnt'],
    'Cannot use mount option cache_dir: its value is empty',
  ],
  [['-o', 'ro,loop', 'app.tar', '/mnt'], 'Cannot use mount option "loop": it is not known'],
  [
    ['-o', 'verify=never', 'app.tar', '/mnt'],
    'Cannot use mount option verify="never": it takes background, before',
  ],
]

t.test('a command line that makes no sense is refused in a line that says why', async (t) => {
  for (const [args, message] of REFUSED) {
    await t.rejects(runProgram(args, '1'), { code: 'USAGE', message }, args.join(' '))
  }
})

t.test('what is repeated from the command line cannot steer a terminal', async (t) => {
  const lines: readonly (readonly string[])[] = [
    ['app.tar', '/mnt', HOSTILE],
    [`--${HOSTILE}`, 'app.tar', '/mnt'],
    ['cache', HOSTILE],
    ['--driver', HOSTILE, 'app.tar', '/mnt'],
    ['-o', HOSTILE, 'app.tar', '/mnt'],
    ['-o', `driver=${HOSTILE}`, 'app.tar', '/mnt'],
    ['cache', 'prune', '--max-size', HOSTILE],
    ['ls', HOSTILE],
    ['ls', '--platform', HOSTILE, 'test/cli'],
    ['umount', `/nowhere/${HOSTILE}`],
    ['status', `/nowhere/${HOSTILE}`],
  ]
  for (const args of lines) {
    try {
      await runProgram(args, '1')
      t.fail(`${JSON.stringify(args)} is refused`)
    } catch (error) {
      const { message } = error as Error
      t.match(message, /^Cannot [^\n]+[^\n.]$/)
      t.notOk(TERMINAL_CODES.test(message) || message.includes('\n'), JSON.stringify(message))
    }
  }
})

t.test('a usage error is one line on standard error and exit status 2', async (t) => {
  for (const args of [[], ['ls', '-Z'], ['app.tar', ''], ['completion', 'x']]) {
    const { status, stdout, stderr } = await runCli(args)
    t.match({ status, stdout }, { status: 2, stdout: '' })
    t.match(stderr, /^ocimount: Cannot understand the command line: [^\n]+ \(see [^\n]+\)\n$/)
  }
})

t.test('options may stand before the command, and `--` ends them', async (t) => {
  const fixture = cliFixture(t)
  writeSample(fixture.dir, '-app.tar')
  writeSample(fixture.dir, 'ls')
  const want = '/usr/bin/tool\n'
  for (const args of [
    ['-q', 'ls', './-app.tar', '/usr/bin/tool'],
    ['--json', 'ls', '--no-json', './-app.tar', '/usr/bin/tool'],
    ['ls', '--', '-app.tar', '/usr/bin/tool'],
    ['--cache-dir', 'cat', 'ls', 'ls', '/usr/bin/tool'],
  ]) {
    const { status, stdout, stderr } = await fixture.ocimount(args, { cwd: fixture.dir })
    t.match({ status, stdout, stderr }, { status: 0, stdout: want, stderr: '' }, args.join(' '))
  }
  const { status, stderr } = await fixture.ocimount(['--', 'ls', 'nowhere'], { cwd: fixture.dir })
  t.match({ status, stderr }, { status: 6, stderr: /nowhere: it does not exist/ }, 'an image `ls`')
})

t.test('a working directory that is gone is named as what is wrong', async (t) => {
  const gone = join(t.testdir(), 'gone')
  mkdirSync(gone)
  const script = 'rmdir "$PWD"; exec "$0" "$@"'
  const { status, stderr } = spawnSync('sh', ['-c', script, ...COMMAND, 'list'], {
    cwd: gone,
    encoding: 'utf8',
  })
  t.equal(status, 4)
  t.equal(stderr, 'ocimount: Cannot use the working directory: it no longer exists\n')
})

t.test('--help has an example for every command', async (t) => {
  const general = await runCli(['--help'])
  t.match(general, { status: 0, stderr: '' })
  t.match(general.stdout, /Exit status: 0 done.*8 storage\./s)
  const printed = t.capture(console, 'log', () => undefined)
  for (const { usage, example } of COMMANDS) {
    const name = usage.split(' ')[0] ?? ''
    t.match(general.stdout, new RegExp(`^  ocimount ${name}\\b`, 'm'), `${name} is listed`)
    t.equal(await runProgram([name, '--help'], '1'), 0)
    const text = printed()
      .map(({ args }) => String(args[0]))
      .join('\n')
    for (const part of example)
      t.ok(text.includes(part.replace('$0', 'ocimount')), `${name}: ${part}`)
  }
})

t.test('--version is a number alone', async (t) => {
  const { status, stdout, stderr } = await runCli(['--version'])
  t.match({ status, stderr }, { status: 0, stderr: '' })
  t.match(stdout, /^\d+\.\d+\.\d+\n$/)
})

t.test('completion prints a script that asks the command', async (t) => {
  const script = await runCli(['completion'], { env: { SHELL: '/bin/bash' } })
  t.match({ status: script.status, stderr: script.stderr }, { status: 0, stderr: '' })
  t.match(script.stdout, /complete .*-F _ocimount_yargs_completions ocimount/)
  const words = await runCli(['--get-yargs-completions', 'ocimount', 'cache', ''])
  t.match(words.stdout, /^du\nverify\nprune$/m)
})
