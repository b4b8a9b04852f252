// Damaged archives: cut anywhere, bytes changed anywhere. Whatever happens, it is an error of ours or an image whose
// documents are exactly the right ones.

import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { OcimountError } from '../../src/errors.js'
import { openImage } from '../../src/source/open-image.js'
import { seededRandom } from '../helpers/random.js'
import { writeImage } from '../helpers/write-image.js'
import type { ImageForm } from '../helpers/write-image.js'
import { sample, sharedCache, stored } from './support.js'

const FORMS: readonly ImageForm[] = ['oci-archive', 'docker-24', 'docker-25', 'podman']
const built = sample({ tags: ['app:1'] })

/** Gives the code of the typed error, or `opened` for the right image; anything else fails the test. */
async function outcome(t: Test, path: string): Promise<string> {
  try {
    const image = await openImage(path, { cache: await sharedCache() })
    await image.close()
    t.equal(image.configDigest, built.configDigest, 'what opens is the right image')
    t.strictSame(
      image.layers.map(stored),
      built.layers.map(({ tar }) => tar),
      'with the right layers',
    )
    return 'opened'
  } catch (error) {
    if (error instanceof OcimountError) return error.code
    throw error
  }
}

t.test('openImage() never opens a cut archive wrongly', async (t) => {
  for (const form of FORMS) {
    for (const wrap of [undefined, 'gzip'] as const) {
      const path = join(t.testdir({}), 'a.tar')
      writeImage(path, [built], { form, ...(wrap === undefined ? {} : { wrap }) })
      const whole = readFileSync(path)
      t.equal(await outcome(t, path), 'opened', `${form} whole`)
      const codes: string[] = []
      for (let twentieth = 0; twentieth < 20; twentieth++) {
        writeFileSync(path, whole)
        truncateSync(path, Math.floor((whole.length * twentieth) / 20))
        codes.push(await outcome(t, path))
      }
      // All that an image needs may be there when nothing but padding or `repositories` is not.
      const opened = codes.slice(0, 17).filter((code) => code === 'opened')
      t.strictSame(opened, [], `${form} ${wrap ?? ''}: ${[...new Set(codes)].join(' ')}`)
      if (wrap !== undefined)
        t.strictSame(new Set(codes), new Set(['IMAGE_INVALID', 'LAYER_CORRUPT']))
    }
  }
})

t.test('openImage() opens an archive that lacks nothing but its end marker', async (t) => {
  for (const form of FORMS) {
    const path = join(t.testdir({}), 'a.tar')
    writeImage(path, [built], { form, pack: { trailer: 0 } })
    t.equal(await outcome(t, path), 'opened', form)
  }
})

t.test('openImage() answers damage with errors of ours only', async (t) => {
  const random = seededRandom(t, 7)
  const seen = new Map<string, number>()
  for (const form of FORMS) {
    const path = join(t.testdir({}), 'a.tar')
    const whole = readFileSync(writeImage(path, [built], { form }))
    for (let round = 0; round < 150; round++) {
      const damaged = Buffer.from(whole)
      for (let change = random.below(3); change >= 0; change--) {
        const at = random.below(damaged.length)
        const kind = random.below(4)
        if (kind === 0) damaged[at] = random.below(256)
        else if (kind === 1) damaged[at] = (damaged[at] ?? 0) ^ (1 << random.below(8))
        else if (kind === 2) damaged.copyWithin(at, random.below(damaged.length), damaged.length)
        else repairHeader(damaged, Math.floor(at / 512) * 512, random.below(512), random.below(256))
      }
      writeFileSync(path, damaged)
      const code = await anyOutcome(path)
      seen.set(code, (seen.get(code) ?? 0) + 1)
    }
  }
  t.comment(JSON.stringify([...seen]))
  t.ok(seen.size >= 4, 'many ways of failing were met')
})

t.test('openImage() answers damaged documents with errors of ours only', async (t) => {
  const random = seededRandom(t, 11)
  const root = t.testdir({})
  for (const form of ['oci', 'dir', 'docker-24-extracted'] as const) {
    for (const name of ['index.json', 'manifest.json', 'oci-layout', 'version']) {
      for (let round = 0; round < 25; round++) {
        const path = join(root, `${form}-${name}-${round}`)
        writeImage(path, [built], {
          form,
          tamper: (members) =>
            members.map((member) =>
              member.path === name && member.type === 'file'
                ? { ...member, bytes: mutate(member.bytes) }
                : member,
            ),
        })
        await anyOutcome(path)
      }
    }
  }
  t.pass('nothing else was thrown')

  function mutate(bytes: Buffer): Buffer {
    const text = bytes.toString('latin1')
    const at = random.below(text.length)
    const piece = random.pick([
      '',
      '"',
      '{',
      ']',
      ',',
      '0',
      '-1',
      'null',
      '../',
      '\0',
      '\xff',
      '1e9',
      '[[[',
    ])
    return Buffer.from(text.slice(0, at) + piece + text.slice(at + random.below(8)), 'latin1')
  }
})

/** A change in manifest.json, which has no digest, may well make another valid image. */
async function anyOutcome(path: string): Promise<string> {
  try {
    const image = await openImage(path, { cache: await sharedCache() })
    await image.close()
    return 'opened'
  } catch (error) {
    if (error instanceof OcimountError) return error.code
    throw error
  }
}

/** Changes a byte of what may be a header and makes the checksum right again. */
function repairHeader(bytes: Buffer, at: number, where: number, value: number): void {
  if (at + 512 > bytes.length) return
  bytes[at + where] = value
  bytes.write('        ', at + 148)
  const sum = bytes.subarray(at, at + 512).reduce((total, byte) => total + byte, 0)
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148)
}
