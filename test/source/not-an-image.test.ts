import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t from 'tap'
import type { ErrorCode } from '../../src/errors.js'
import { compress } from '../helpers/build-image.js'
import type { Member } from '../helpers/tar-members.js'
import { file, packMembers, simpleLayer, writeMembers } from '../helpers/tar-members.js'
import { docker24Members, ociMembers } from '../helpers/write-image.js'
import { open, sample, testCache } from './support.js'

t.test('notAnImage() says what a directory or archive is instead (D-040, D-048)', async (t) => {
  const directory = (path: string): Member => ({ path, type: 'directory' })
  const cases: readonly {
    name: string
    members: readonly Member[]
    code: ErrorCode
    message: RegExp
  }[] = [
    {
      name: 'docker export',
      members: [directory('bin'), directory('etc'), file('etc/passwd', ''), directory('usr')],
      code: 'IMAGE_UNSUPPORTED',
      message: /it is a root filesystem, such as docker export writes/,
    },
    {
      name: 'rootfs with links',
      members: [file('etc/passwd', ''), { path: 'bin', type: 'symlink', target: 'usr/bin' }],
      code: 'IMAGE_UNSUPPORTED',
      message: /root filesystem/,
    },
    { name: 'nothing', members: [], code: 'IMAGE_INVALID', message: /is empty/ },
    {
      name: 'something',
      members: [file('x', '')],
      code: 'IMAGE_INVALID',
      message: /neither oci-layout nor manifest\.json/,
    },
    {
      name: 'bundle',
      members: [file('config.json', '{}'), directory('rootfs')],
      code: 'IMAGE_UNSUPPORTED',
      message: /runtime bundle/,
    },
    {
      name: 'aci',
      members: [file('manifest', '{}'), directory('rootfs')],
      code: 'IMAGE_UNSUPPORTED',
      message: /AppC/,
    },
    {
      name: 'chart',
      members: [file('Chart.yaml', '')],
      code: 'IMAGE_UNSUPPORTED',
      message: /Helm chart/,
    },
    {
      name: 'blobs',
      members: [file('blobs/sha256/x', '')],
      code: 'IMAGE_INVALID',
      message: /has blobs\//,
    },
    {
      name: 'one level up',
      members: ociMembers([sample()]).map((member) => ({ ...member, path: `app/${member.path}` })),
      code: 'IMAGE_INVALID',
      message: /the image is in app\/ inside it/,
    },
    {
      name: 'dir: of the future',
      members: [file('version', 'Directory Transport Version: 2.0\n'), file('manifest.json', '{}')],
      code: 'IMAGE_UNSUPPORTED',
      message: /version 2 of the dir: format/,
    },
    {
      name: 'web manifest',
      members: [file('manifest.json', '{"name":"x"}')],
      code: 'IMAGE_INVALID',
      message: /schemaVersion/,
    },
    {
      name: 'empty list',
      members: [file('manifest.json', '[]')],
      code: 'REFERENCE_NOT_FOUND',
      message: /lists none/,
    },
  ]
  const root = t.testdir({})
  for (const { name, members, code, message } of cases) {
    const archive = join(root, `${name}.tar`)
    writeFileSync(archive, packMembers(members))
    await t.rejects(open(t, archive), { code, message }, `${name} archive`)
    await t.rejects(open(t, writeMembers(join(root, name), members)), { code, message }, name)
  }
})

t.test('identifyFile() says what a file is instead', async (t) => {
  const sif = Buffer.alloc(64)
  sif.write('SIF_MAGIC\0', 32)
  const cases: readonly {
    name: string
    bytes: Buffer | string
    code: ErrorCode
    message: RegExp
  }[] = [
    { name: 'empty', bytes: '', code: 'IMAGE_INVALID', message: /it is empty/ },
    { name: 'text', bytes: 'hello', code: 'IMAGE_INVALID', message: /it is not a tar archive/ },
    {
      name: 'long text',
      bytes: 'hello '.repeat(1000),
      code: 'IMAGE_INVALID',
      message: /it is not a tar archive/,
    },
    {
      name: 'half a header',
      bytes: simpleLayer({ x: 'y' }).subarray(0, 300),
      code: 'IMAGE_INVALID',
      message: /not a tar/,
    },
    {
      name: 'manifest',
      bytes: ' {"schemaVersion":2}',
      code: 'IMAGE_UNSUPPORTED',
      message: /JSON document/,
    },
    { name: 'zip', bytes: 'PK\x03\x04'.padEnd(600), code: 'IMAGE_UNSUPPORTED', message: /zip/ },
    {
      name: 'xz',
      bytes: Buffer.from('fd377a585a000000', 'hex'),
      code: 'COMPRESSION_UNSUPPORTED',
      message: /xz/,
    },
    { name: 'bzip2', bytes: 'BZh91AY&SY', code: 'COMPRESSION_UNSUPPORTED', message: /bzip2/ },
    { name: 'squashfs', bytes: 'hsqs'.padEnd(600), code: 'IMAGE_UNSUPPORTED', message: /squashfs/ },
    { name: 'sif', bytes: sif, code: 'IMAGE_UNSUPPORTED', message: /Singularity/ },
    { name: 'elf', bytes: '\x7fELF', code: 'IMAGE_UNSUPPORTED', message: /executable/ },
    {
      name: 'gzip of text',
      bytes: compress(Buffer.from('hello'), 'gzip'),
      code: 'IMAGE_INVALID',
      message: /not a tar/,
    },
    {
      name: 'gzip of nothing',
      bytes: compress(Buffer.alloc(0), 'gzip'),
      code: 'IMAGE_INVALID',
      message: /empty/,
    },
    {
      name: 'twice',
      bytes: compress(compress(packMembers(docker24Members([sample()])), 'gzip'), 'gzip'),
      code: 'IMAGE_UNSUPPORTED',
      message: /compressed twice/,
    },
    {
      name: 'cut gzip',
      bytes: compress(packMembers(docker24Members([sample()])), 'gzip').subarray(0, -9),
      code: 'LAYER_CORRUPT',
      message: /ends early/,
    },
  ]
  const root = t.testdir({})
  const cache = await testCache(t)
  for (const { name, bytes, code, message } of cases) {
    const path = join(root, name)
    writeFileSync(path, bytes)
    await t.rejects(open(t, path, { cache }), { code, message }, name)
    const stdin = Readable.from(Buffer.from(bytes).length === 0 ? [] : [Buffer.from(bytes)])
    await t.rejects(open(t, '-', { cache, stdin }), { code, message }, `${name} on standard input`)
  }
  t.strictSame(leftovers(cache.root), [], 'nothing of it stays in the cache')
})

t.test('openImage() refuses special files without waiting for them', async (t) => {
  const root = t.testdir({})
  execFileSync('mkfifo', [join(root, 'fifo')])
  symlinkSync('loop', join(root, 'loop'))
  // The path of a socket holds 107 bytes at most.
  const short = mkdtempSync(join(tmpdir(), 'ocimount-'))
  const server = createServer().listen(join(short, 's'))
  t.teardown(() => {
    server.close()
    rmSync(short, { recursive: true })
  })
  await new Promise((resolve) => server.once('listening', resolve))
  await t.rejects(open(t, join(root, 'fifo')), {
    code: 'IMAGE_INVALID',
    message: /a pipe; give an archive on standard input/,
  })
  await t.rejects(open(t, join(short, 's')), { code: 'IMAGE_INVALID', message: /a socket/ })
  await t.rejects(open(t, join(root, 'loop')), {
    code: 'FILE_NOT_FOUND',
    message: /too many symbolic links/,
  })
  await t.rejects(open(t, '/dev/zero'), { code: 'IMAGE_INVALID', message: /a device/ })
  await t.rejects(open(t, join(root, 'fifo/x')), { code: 'FILE_NOT_FOUND' })
})

t.test('openImage() does not mistake a large hole for an image', async (t) => {
  const root = t.testdir({})
  const path = join(root, 'hole')
  writeFileSync(path, '')
  truncateSync(path, 2 ** 40)
  await t.rejects(open(t, path), { code: 'IMAGE_INVALID', message: /the archive is empty/ })
  mkdirSync(join(root, 'none'))
  await t.rejects(open(t, join(root, 'none')), {
    code: 'IMAGE_INVALID',
    message: /the directory is empty/,
  })
})

function leftovers(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /^(?:decoded|tmp|locks)\/./.test(name),
  )
}
