// Files and directories that are no image, or only half of one: refused in one line, with nothing left behind.

import { closeSync, mkdirSync, openSync, truncateSync, writeFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { createCipheriv } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { buildImage } from '../helpers/build-image.js'
import { forEachOf, leavesNothing, refuses, type Refusal } from '../helpers/cli-checks.js'
import { cliFixture } from '../helpers/cli-fixture.js'
import { file, packMembers, simpleLayer } from '../helpers/tar-members.js'
import { writeImage, type ImageForm, type WriteImageOptions } from '../helpers/write-image.js'

const ROOT_TREE = { 'bin/': '', 'etc/': '', 'etc/os-release': 'ID=test\n', 'usr/': '' }

interface Case {
  readonly name: string
  readonly make: (path: string) => void
  readonly refusal: Refusal
}

const CASES: readonly Case[] = [
  {
    name: 'no such file',
    make: () => undefined,
    refusal: { status: 4, why: /Cannot read .*: there is no such file or directory/ },
  },
  {
    name: 'a part of the path is a file',
    make: (path) => {
      writeFileSync(path.replace(/\/[^/]*$/, ''), '')
    },
    refusal: { status: 4, why: /not a directory/ },
  },
  {
    name: 'an empty file',
    make: (path) => {
      writeFileSync(path, '')
    },
    refusal: { status: 3, why: /is empty/ },
  },
  {
    name: 'one byte',
    make: (path) => {
      writeFileSync(path, '\x1f')
    },
    refusal: { status: 3, why: /Cannot use .* as an image/ },
  },
  {
    name: 'text',
    make: (path) => {
      writeFileSync(path, 'FROM busybox\n'.repeat(100))
    },
    refusal: { status: 3, why: /Cannot use .* as an image/ },
  },
  {
    name: 'zeros: a tar that holds nothing',
    make: (path) => {
      closeSync(openSync(path, 'w'))
      truncateSync(path, 10_240)
    },
    refusal: { status: 3, why: /Cannot use .* as an image/ },
  },
  {
    name: 'a pipe',
    make: (path) => {
      execFileSync('mkfifo', [path])
    },
    refusal: { status: 3, why: /it is not a regular file but a pipe/ },
  },
  {
    name: 'an empty directory',
    make: (path) => {
      mkdirSync(path)
    },
    refusal: { status: 3, why: /the directory is empty/ },
  },
  {
    name: 'a directory that is no image',
    make: (path) => {
      mkdirSync(path)
      writeFileSync(join(path, 'notes.txt'), 'x')
    },
    refusal: { status: 3, why: /neither oci-layout nor manifest.json/ },
  },
  {
    name: 'a root filesystem, as docker export writes',
    make: (path) => {
      writeFileSync(path, simpleLayer(ROOT_TREE))
    },
    refusal: { status: 3, why: /docker export writes, not an image; docker save writes images/ },
  },
  {
    name: 'a tar of anything',
    make: (path) => {
      writeFileSync(path, packMembers([file('a.txt', 'a'), file('b.txt', 'b')]))
    },
    refusal: { status: 3, why: /neither oci-layout nor manifest.json/ },
  },
]

for (const { name, make, refusal } of CASES) {
  t.test(`refuses ${name}`, async (t) => {
    const fixture = cliFixture(t)
    // Two levels, so that a case may put something else in place of the first.
    const path = join(fixture.mountpoint('in'), name.includes('part of') ? 'file/image' : 'image')
    make(path)
    const commands = [
      [path, fixture.mountpoint()],
      ['ls', path],
      ['inspect', path],
    ]
    const lines = await Promise.all(
      commands.map((command) => refuses(t, fixture, command, refusal)),
    )
    t.equal(new Set(lines).size, 1, 'every command says the same')
    await leavesNothing(t, fixture)
  })
}

t.test('refuses a device', async (t) => {
  const fixture = cliFixture(t)
  const refusal = { status: 3, why: /it is not a regular file but a device/ }
  await refuses(t, fixture, ['/dev/null', fixture.mountpoint()], refusal)
})

const CUTS = Array.from({ length: 19 }, (_, n) => n + 1)

// Documents first in one form: then a cut leaves an image that looks whole until its layers are looked for.
const documentsFirst: WriteImageOptions['tamper'] = (members) => [
  ...members.filter(({ path }) => path.endsWith('.json') || path === 'oci-layout'),
  ...members.filter(({ path }) => !path.endsWith('.json') && path !== 'oci-layout'),
]

const FORMS: readonly {
  readonly form: ImageForm
  readonly compression: 'none' | 'gzip'
  readonly wrap?: 'gzip'
  readonly command: 'mount' | 'ls'
}[] = [
  { form: 'docker-24', compression: 'none', command: 'mount' },
  { form: 'docker-25', compression: 'none', command: 'ls' },
  { form: 'oci-archive', compression: 'gzip', command: 'ls' },
  { form: 'docker-24', compression: 'none', wrap: 'gzip', command: 'ls' },
]

for (const { form, compression, wrap, command } of FORMS) {
  const name = `${form}${wrap === undefined ? '' : `.${wrap}`} with ${compression} layers`
  t.test(`refuses ${name}, cut at every twentieth`, async (t) => {
    const fixture = cliFixture(t)
    const image = buildImage({
      tags: ['test:latest'],
      layers: [1, 2].map((seed) => ({
        tar: packMembers([file(`noise${seed}`, noise(60_000, seed))]),
        compression,
      })),
    })
    const whole = writeImage(join(fixture.dir, 'whole'), [image], {
      form,
      tamper: documentsFirst,
      ...(wrap === undefined ? {} : { wrap }),
    })
    const bytes = execFileSync('cat', [whole])
    await forEachOf(CUTS, async (cut) => {
      const path = join(fixture.dir, `cut-${cut}`)
      writeFileSync(path, bytes.subarray(0, Math.floor((bytes.length * cut) / 20)))
      const args = command === 'mount' ? [path, fixture.mountpoint(`at-${cut}`)] : ['ls', path]
      await refuses(t, fixture, args, { status: 3, why: /Cannot (use|read|decompress|find) / })
    })
    await leavesNothing(t, fixture)
    const listed = await fixture.ocimount(['ls', whole])
    t.equal(listed.stdout, 'noise1\nnoise2\n', 'the whole one is fine')
  })
}

/** Bytes that no compression makes shorter, the same for the same seed. */
function noise(length: number, seed: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(
    Buffer.alloc(length),
  )
}
