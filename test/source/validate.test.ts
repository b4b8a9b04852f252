import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { validateImage } from '../../src/source/validate.js'
import type { Finding, ValidateOptions } from '../../src/source/validate.js'
import {
  blobPath,
  buildImage,
  buildIndex,
  compress,
  hex,
  json,
  sha256,
} from '../helpers/build-image.js'
import type { BuiltImage } from '../helpers/build-image.js'
import { file, packMembers, simpleLayer } from '../helpers/tar-members.js'
import type { Member } from '../helpers/tar-members.js'
import { docker24Members, ociMembers, podmanMembers, writeImage } from '../helpers/write-image.js'
import { replace, sample, sharedCache, without } from './support.js'

const A = simpleLayer({ 'etc/': '', 'etc/a': 'a\n' })
const B = simpleLayer({ b: 'b\n' })

async function validate(
  t: Test,
  members: readonly Member[],
  options: Partial<ValidateOptions> = {},
): Promise<readonly Finding[]> {
  const path = join(t.testdir({}), 'image.tar')
  writeFileSync(path, packMembers(members))
  return validateImage(path, { cache: await sharedCache(), ...options })
}

function brief(findings: readonly Finding[]): string[] {
  return findings.map(({ level, code, where }) => `${level} ${code} ${where}`)
}

t.test('validateImage() finds nothing wrong with images in every form', async (t) => {
  const zipped = buildImage({ layers: [{ tar: A, compression: 'gzip' }, B], tags: ['app'] })
  for (const form of [
    'oci',
    'oci-archive',
    'docker-24',
    'docker-25',
    'podman',
    'dir',
    'docker-24-extracted',
  ] as const) {
    const path = writeImage(join(t.testdir({}), form), [zipped], { form })
    let last = { done: 0, total: -1 }
    const onProgress = (progress: typeof last): void => {
      last = progress
    }
    t.strictSame(await validateImage(path, { cache: await sharedCache(), onProgress }), [], form)
    t.equal(last.done, last.total, 'progress ends at the whole')
  }
})

t.test(
  'validateImage() finds nothing wrong with the real images',
  {
    skip: existsSync(corpora()) ? false : 'the corpora are not here',
  },
  async (t) => {
    for (const name of readdirSync(corpora())) {
      t.strictSame(
        await validateImage(join(corpora(), name), { cache: await sharedCache() }),
        [],
        name,
      )
    }
  },
)

t.test('validateImage() reports every fault, not the first', async (t) => {
  const one = buildImage({ layers: [A, B, { tar: A, compression: 'gzip' }], tags: ['one'] })
  const two = buildImage({ layers: [B], tags: ['two'], config: { author: 'two' } })
  const three = buildImage({ layers: [B], tags: ['three'], config: { author: 'three' } })
  const [a, , c] = one.layers
  let members: readonly Member[] = ociMembers([one, two, three])
  members = replace(
    members,
    blobPath(a!.digest),
    Buffer.from(A.map((byte, n) => (n === 1024 ? byte ^ 1 : byte))),
  )
  members = replace(members, blobPath(c!.digest), c!.stored.subarray(0, -4))
  members = replace(members, blobPath(two.configDigest), Buffer.alloc(two.config.length, ' '))
  members = without(members, blobPath(three.manifestDigest))
  const findings = await validate(t, members)
  t.strictSame(
    new Set(brief(findings)),
    new Set([
      `error SIZE_MISMATCH layer 2 of ${one.manifestDigest}`,
      `error DIGEST_MISMATCH manifest ${two.manifestDigest}`,
      `error BLOB_MISSING manifest ${three.manifestDigest}`,
      `error DIGEST_MISMATCH layer 0 of ${one.manifestDigest}`,
    ]),
  )
  t.ok(findings.every(({ message }) => /^Cannot \S.*[^.]$/.test(message)))
})

t.test('validateImage() tells stored digest, DiffID and tar apart', async (t) => {
  const wrongDiffIds = { rootfs: { type: 'layers', diff_ids: [sha256(A), sha256(A)] } }
  const swapped = buildImage({ layers: [A, B], config: wrongDiffIds })
  const where = `layer 1 of ${swapped.manifestDigest}`
  t.strictSame(brief(await validate(t, ociMembers([swapped]))), [`error DIGEST_MISMATCH ${where}`])
  const notTar = buildImage({ layers: [Buffer.alloc(2048, 'x')] })
  t.strictSame(brief(await validate(t, ociMembers([notTar]))), [
    `error TAR_CORRUPT layer 0 of ${notTar.manifestDigest}`,
  ])
  const bad = packMembers([
    file('../up', 'x'),
    file('a/.wh.', ''),
    file('fine', ''),
    file('.wh...', ''),
  ])
  const names = buildImage({ layers: [bad] })
  t.equal(
    (await validate(t, ociMembers([names]))).filter(({ code }) => code === 'LAYER_CORRUPT').length,
    3,
  )
  const cut = buildImage({ layers: [A.subarray(0, 1025)] })
  t.match(brief(await validate(t, ociMembers([cut]))), [/TAR_CORRUPT/])
  const half = compress(A, 'gzip').subarray(0, -12)
  const zipped = buildImage({
    layers: [half],
    config: { rootfs: { type: 'layers', diff_ids: [sha256(A)] } },
  })
  t.match(brief(await validate(t, ociMembers([zipped]))), [/LAYER_CORRUPT layer 0/])
  const xz = Buffer.from('fd377a585a000000', 'hex')
  t.match(brief(await validate(t, ociMembers([buildImage({ layers: [xz] })]))), [
    /COMPRESSION_UNSUPPORTED/,
  ])
})

t.test('validateImage() reads docker archives to the end (D-009)', async (t) => {
  const built = buildImage({ layers: [A, B], tags: ['app:1'] })
  const config = `${hex(built.configDigest)}.json`
  for (const make of [docker24Members, podmanMembers]) {
    const members = make([built])
    const tars = members.filter((member) => member.type === 'file' && member.bytes.equals(B))
    t.equal(tars.length, 1)
    const flipped = Buffer.from(B)
    flipped[512] = 0x7a
    t.strictSame(brief(await validate(t, replace(members, tars[0]!.path, flipped))), [
      `error DIGEST_MISMATCH layer 1 of ${config}`,
    ])
    t.match(brief(await validate(t, without(members, tars[0]!.path))), [/BLOB_MISSING layer 1/])
    t.match(brief(await validate(t, without(members, config))), [
      `error IMAGE_INVALID image ${config}`,
    ])
  }
})

t.test('validateImage() warns about what harms nobody', async (t) => {
  const odd = sample({ tags: ['Not A Name!'], config: { created: 'yesterday', os: undefined } })
  const findings = await validate(t, ociMembers([odd]))
  t.ok(findings.every(({ level, code }) => level === 'warning' && code === 'DEVIATION'))
  t.match(brief(findings).join('\n'), /index\.json\n.*config sha256/)
  const global = Buffer.from(A)
  const noted = buildImage({
    layers: [Buffer.concat([global, Buffer.from('trailing'.padEnd(512, 'x'))])],
  })
  t.match(brief(await validate(t, ociMembers([noted]))), [/^warning DEVIATION layer 0/])
})

t.test('validateImage() hashes blobs that nothing uses (A-144, A-145)', async (t) => {
  const built = sample()
  const unused = file(blobPath(sha256('unused')), 'unused')
  t.strictSame(
    await validate(t, [...ociMembers([built]), unused, file('blobs/sha256/README', '')]),
    [],
  )
  const wrong = file(blobPath(sha256('unused')), 'used')
  t.strictSame(brief(await validate(t, [...ociMembers([built]), wrong])), [
    `error DIGEST_MISMATCH blob ${sha256('unused')}`,
  ])
})

t.test('validateImage() looks at one image or platform when asked to (D-025)', async (t) => {
  const amd = { os: 'linux', architecture: 'amd64' }
  const arm = { os: 'linux', architecture: 'arm64' }
  const index = buildIndex({
    index: [
      { layers: [A], platform: amd },
      { layers: [B], platform: arm },
    ],
    tags: ['app'],
  })
  const other = index.children[1] as BuiltImage
  const lone = sample({ tags: ['lone'] })
  const members = without(ociMembers([index, lone]), blobPath(other.manifestDigest))
  const missing = `warning BLOB_MISSING manifest ${other.manifestDigest}`
  t.strictSame(brief(await validate(t, members)), [missing])
  t.strictSame(brief(await validate(t, members, { platform: amd })), [])
  t.strictSame(brief(await validate(t, members, { ref: 'lone' })), [])
  t.strictSame(brief(await validate(t, members, { ref: 'app' })), [missing])
  await t.rejects(validate(t, members, { ref: 'nobody' }), { code: 'REFERENCE_NOT_FOUND' })
})

t.test(
  'validateImage() turns what is wrong with the whole into a finding, what is wrong with the call into an error',
  async (t) => {
    const path = join(t.testdir({}), 'x.tar')
    writeFileSync(path, packMembers(ociMembers([sample()])).subarray(0, 2000))
    const cache = await sharedCache()
    t.strictSame(brief(await validateImage(path, { cache })), ['error TAR_CORRUPT source'])
    t.strictSame(brief(await validate(t, [file('x', '')])), ['error IMAGE_INVALID source'])
    await t.rejects(validateImage(`${path}.nope.tar`, { cache }), { code: 'FILE_NOT_FOUND' })
    const abort = new AbortController()
    abort.abort()
    await t.rejects(validate(t, ociMembers([sample()]), { signal: abort.signal }), {
      code: 'INTERRUPTED',
    })
  },
)

t.test(
  'validateImage() passes over artifacts, whose blobs must be right all the same',
  async (t) => {
    const artifact = sample({
      manifest: { config: { ...descriptor(), data: 'e30=' }, artifactType: 'application/x' },
    })
    const members = ociMembers([artifact, sample({ tags: ['app'] })])
    t.strictSame(await validate(t, members), [])
    const { digest } = artifact.layers[0]!
    const size = artifact.layers[0]!.stored.length
    const lone = ociMembers([artifact])
    t.match(brief(await validate(t, replace(lone, blobPath(digest), Buffer.alloc(size)))), [
      /DIGEST_MISMATCH/,
    ])
    const unknown = json({ any: 'thing' })
    const entry = { mediaType: 'application/xml', digest: sha256(unknown), size: unknown.length }
    const list = replace(lone, 'index.json', json({ schemaVersion: 2, manifests: [entry] }))
    t.strictSame(await validate(t, [...list, file(blobPath(sha256(unknown)), unknown)]), [])
  },
)

function descriptor(): Record<string, unknown> {
  return { mediaType: 'application/vnd.oci.empty.v1+json', digest: sha256('{}'), size: 2 }
}

function corpora(): string {
  return join(process.env['OCIMOUNT_CORPORA'] ?? '../shared/corpora', 'images')
}
