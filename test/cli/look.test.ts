// Looking into an image without mounting it: ls, cat, tree, stat, inspect, validate.

import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { buildImage } from '../helpers/build-image.js'
import * as tar from '../helpers/build-tar.js'
import { refuses, TERMINAL_CODES } from '../helpers/cli-checks.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { COMMAND } from '../helpers/run-cli.js'
import { writeImage } from '../helpers/write-image.js'
import { HOSTILE, HOSTILE_SHOWN, writeSample } from './sample-image.js'

type Row = Readonly<Record<string, unknown>>

const fixture = cliFixture(t)
const image = writeSample(fixture.dir)

/** Runs a command that must succeed without a word on standard error; gives its result. */
async function output(args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await fixture.ocimount(args)
  if (status !== 0 || stderr !== '') throw new Error(`${args.join(' ')}: ${status ?? ''} ${stderr}`)
  if (TERMINAL_CODES.test(stdout)) throw new Error(`${args.join(' ')} prints control characters`)
  return stdout
}

t.test('ls lists directories and files as ls does', async (t) => {
  t.equal(await output(['ls', image, '/etc']), `${HOSTILE_SHOWN}\nmotd\n`)
  t.equal(await output(['ls', image, 'os-release']), 'os-release\n', 'a file is itself')
  t.equal(await output(['ls', image, 'usr', '/usr/bin/']), 'usr:\nbin\n\n/usr/bin/:\ntool\n')
  const root = (await output(['ls', image])).trimEnd().split('\n')
  t.strictSame(root, [
    'bytes',
    'bytes-too',
    'etc',
    'latin-\\xe9',
    `link${HOSTILE_SHOWN}`,
    'null',
    'os-release',
    'su',
    'usr',
  ])
})

t.test('ls -l -R has mode, links, owner, size, time and target', async (t) => {
  const lines = (await output(['ls', '-lR', image])).split('\n')
  const rows = lines.map((text) => text.split(/ {2,}/)).filter((cells) => cells.length > 1)
  const line = (name: string): string[] =>
    rows.find((cells) => cells.at(-1)?.startsWith(name)) ?? []
  t.strictSame(line('motd').slice(0, 6), ['-rw-r-----', '1', '1', '2', '6', '2020-09-13 12:26:40'])
  t.match(line('bytes-too'), ['-rw-r--r--', '2'])
  t.match(line('null'), ['crw-rw-rw-', '1', '0', '0', '1,3'])
  t.match(line('su'), ['-rwsr-xr-x'])
  t.equal(line('os-release').at(-1), 'os-release -> /etc/motd')
  t.equal(line('link').at(-1), `link${HOSTILE_SHOWN} -> to${HOSTILE_SHOWN}`)
  t.ok(lines.includes('/usr/bin:'), 'what is below is there, with a title')
  const link = await output(['ls', '-l', image, 'os-release'])
  t.match(link, /^l.*os-release -> \/etc\/motd\n$/, 'with -l a link that is named is itself')
})

t.test('--json says the same to a program, and keeps bytes that are no text', async (t) => {
  const rows = JSON.parse(await output(['ls', '--json', image])) as Row[]
  t.match(
    rows.find(({ path }) => path === '/latin-\\xe9'),
    { pathHex: Buffer.from('/latin-\xe9', 'latin1').toString('hex'), type: 'file', size: 2 },
  )
  t.match(
    rows.find(({ path }) => path === '/null'),
    { type: 'char', device: '1:3', mode: '0666' },
  )
  const [row] = JSON.parse(await output(['stat', '--json', image, '/etc/motd'])) as Row[]
  t.match(row, {
    path: '/etc/motd',
    mode: '0640',
    uid: 1,
    gid: 2,
    size: 6,
    mtime: '2020-09-13T12:26:40.250000000Z',
    links: 1,
  })
  const etc = JSON.parse(await output(['tree', '--json', image, 'etc'])) as Row[]
  t.strictSame(
    etc.map(({ path }) => path),
    ['etc', `etc/${HOSTILE}`, 'etc/motd'],
  )
})

t.test('stat shows everything, of a link the link itself', async (t) => {
  const shown = await output(['stat', image, 'bytes', 'os-release'])
  const [bytes = '', link = ''] = shown.split('\n\n')
  t.match(bytes, /^links +2$/m)
  t.match(bytes, /^xattr +user\.note="a "quoted" one"$/m)
  t.match(bytes, /^mode +0644 -rw-r--r--$/m)
  t.match(link, /^type +symlink$/m)
  t.match(link, /^target +\/etc\/motd$/m)
})

t.test('tree draws as many levels as it is told to', async (t) => {
  t.equal(
    await output(['tree', image, 'usr']),
    'usr\n└── bin\n    └── tool\n\n1 directories, 1 files\n',
  )
  t.equal(
    await output(['tree', '-L', '1', image, '/usr']),
    '/usr\n└── bin\n\n1 directories, 0 files\n',
  )
  const all = await output(['tree', image])
  t.ok(all.includes(`├── link${HOSTILE_SHOWN} -> to${HOSTILE_SHOWN}\n`))
})

t.test('cat writes the bytes of several files, links followed inside the image', async (t) => {
  const out = await bytesOf(['cat', image, '/os-release', 'bytes', 'etc/../etc/motd', 'su'])
  const content = Buffer.from([0, 255, 10, 128])
  t.strictSame(out, Buffer.concat([Buffer.from('hello\n'), content, Buffer.from('hello\n')]))
})

t.test('a path that is not there is exit status 4', async (t) => {
  const cases: readonly (readonly [args: readonly string[], why: RegExp])[] = [
    [['cat', image, '/etc/motd', '/nope'], /Cannot find \/nope in the image: nope does not exist/],
    [['cat', image, '/etc'], /Cannot print \/etc: it is not a regular file/],
    [['cat', image, 'null'], /Cannot print null: it is not a regular file/],
    [['cat', image, `link${HOSTILE}`], /does not exist/],
    [['ls', image, 'etc/motd/'], /it is not a directory/],
    [['ls', image, 'etc/gone'], /Cannot find etc\/gone in the image: gone does not exist/],
    [['stat', image, 'etc/motd/x'], /a part of it is not a directory/],
    [['tree', image, HOSTILE], /does not exist/],
    [['ls', '--ref', HOSTILE, image], /it holds .*example\/app:latest/],
    [['ls', '--platform', 'linux/s390x', image], /s390x/],
    [['ls', join(fixture.dir, HOSTILE)], /there is no such file or directory/],
  ]
  for (const [args, why] of cases) await refuses(t, fixture, args, { status: 4, why })
})

t.test('inspect shows the image, and what was altered on the way in', async (t) => {
  const text = await output(['inspect', '--report', image])
  t.match(text, /^Name: +(docker.io\/)?example\/app:latest$/m)
  t.match(text, /^Platform: +linux\/amd64$/m)
  t.match(text, /^ +1 .*sha256:[0-9a-f]{64} /m)
  t.match(text, /^ +1 +duplicate +\/usr\/bin\/tool /m, 'the report')
  t.ok(text.includes(`Command:           "/usr/bin/tool" "${HOSTILE_SHOWN}"\n`))
  t.ok(text.includes(`Env:               EVIL=${HOSTILE_SHOWN}\n`))
  t.ok(text.includes(`Label:             label${HOSTILE_SHOWN}=${HOSTILE_SHOWN}\n`))
  const document = JSON.parse(await output(['inspect', '--report', '--json', image])) as Row
  t.match(document, {
    name: /example\/app:latest$/,
    platform: 'linux/amd64',
    imageId: /^sha256:/,
    config: { User: HOSTILE },
    layers: [{ diffId: /^sha256:/ }, {}],
    reportTotal: 1,
    report: [{ kind: 'duplicate', layer: 1, path: '/usr/bin/tool' }],
  })
  t.notOk('report' in (JSON.parse(await output(['inspect', '--json', image])) as Row))
})

t.test('inspect --raw prints the documents byte by byte', async (t) => {
  const config = await bytesOf(['inspect', '--raw', 'config', image])
  const manifest = await bytesOf(['inspect', '--raw', 'manifest', image])
  const archive = readFileSync(image)
  t.ok(archive.includes(config) && config.length > 100)
  t.ok(archive.includes(manifest) && manifest.length > 100)
  t.match(JSON.parse(manifest.toString()), { schemaVersion: 2 })
})

t.test('validate names every finding, 5 for a digest, else 3, else 0', async (t) => {
  const sound = await fixture.ocimount(['validate', image])
  t.match(sound, { status: 0, stdout: '', stderr: 'ocimount: valid\n' })
  const bytes = readFileSync(image)
  const at = bytes.indexOf('#!/bin/true')
  const changed = join(fixture.dir, 'changed.tar')
  writeFileSync(
    changed,
    Buffer.concat([bytes.subarray(0, at), Buffer.from('?'), bytes.subarray(at + 1)]),
  )
  const wrong = await fixture.ocimount(['validate', '-q', changed])
  t.match(wrong, { status: 5, stderr: '' })
  t.match(wrong.stdout, /^error: [^\n]+ \[DIGEST_MISMATCH\]$/m)
  const broken = buildImage({ layers: [tar.buildTar([tar.file(`a/../${HOSTILE}`, 'x')])] })
  const path = writeImage(join(fixture.dir, 'broken'), [broken], { form: 'oci' })
  const { status, stdout } = await fixture.ocimount(['validate', '--json', path])
  t.equal(status, 3, stdout)
  t.match(JSON.parse(stdout), { findings: [{ level: 'error', code: 'LAYER_CORRUPT' }] })
  t.notOk(TERMINAL_CODES.test(stdout.replaceAll('\n', '')))
})

t.test('an image whose own names are hostile is shown, not obeyed', async (t) => {
  const hostile = buildImage({
    tags: [`x:${HOSTILE}`, 'y'],
    layers: [tar.buildTar([tar.file('a')])],
  })
  const path = writeImage(join(fixture.dir, `image${HOSTILE}`), [hostile], { form: 'oci' })
  for (const args of [
    ['inspect', path],
    ['ls', path],
    ['validate', path],
    ['inspect', '--ref', 'z', path],
  ]) {
    const { stdout, stderr } = await fixture.ocimount(args)
    t.notOk(TERMINAL_CODES.test(stdout + stderr), JSON.stringify(stdout + stderr))
  }
})

t.test('a reader that goes away early is no failure', async (t) => {
  for (const command of ['ls -lR', 'cat', 'inspect --json']) {
    const paths = command === 'cat' ? ['/bytes', '/etc/motd'] : []
    // `true` reads nothing and is gone long before there is something to read.
    const script = '{ sleep 0.1; "$0" "$@"; echo "status $?" >&2; } | true'
    const { stderr } = await shell(fixture, script, [...command.split(' '), image, ...paths])
    t.equal(stderr, 'status 0\n', command)
  }
  const full = await shell(fixture, 'exec "$0" "$@" > /dev/full', ['ls', image])
  t.equal(full.status, 8)
  t.match(full.stderr, /^ocimount: Cannot write the result: ENOSPC[^\n]*\n$/)
  const mute = await shell(fixture, 'exec "$0" "$@" 2> /dev/full', ['ls', '/nowhere.tar'])
  t.equal(mute.status, 4, 'the exit status tells when standard error cannot')
})

/** The result as bytes. */
async function bytesOf(args: readonly string[]): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...fixture.env }
    const [program, ...first] = COMMAND
    execFile(program, [...first, ...args], { env, encoding: 'buffer' }, (error, stdout) => {
      if (error === null) resolve(stdout)
      else reject(new Error(error.message))
    })
  })
}

/** Runs a script in which `"$0" "$@"` is the command. */
async function shell(
  { env }: CliFixture,
  script: string,
  args: readonly string[],
): Promise<{ readonly status: number; readonly stderr: string }> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...env } }
    execFile('sh', ['-c', script, ...COMMAND, ...args], options, (error, _, stderr) => {
      resolve({ status: typeof error?.code === 'number' ? error.code : 0, stderr })
    })
  })
}
