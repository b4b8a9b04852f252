// The documents on which the image-spec's own tests give a verdict, and the examples in its text.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isOcimountError } from '../../src/errors.js'
import { parseDescriptor } from '../../src/image/descriptor.js'
import { parseImageConfig } from '../../src/image/image-config.js'
import { parseImageIndex } from '../../src/image/image-index.js'
import { parseJson } from '../../src/image/json.js'
import { parseLayoutHeader } from '../../src/image/layout.js'
import { parseManifest } from '../../src/image/manifest.js'

interface Case {
  readonly comment: string
  readonly json: string
  readonly fail: boolean
}

type Parse = (bytes: Buffer, strict: boolean) => { readonly warnings?: readonly string[] }

const CASES = join(process.env['OCIMOUNT_CORPORA'] ?? '../shared/corpora', 'spec/cases')
const skip = existsSync(CASES) ? false : `no documents of the image-spec at ${CASES}`

const PARSERS: Record<string, Parse> = {
  config: (bytes, strict) => parseImageConfig(bytes, { strict }),
  descriptor: (bytes) => {
    parseDescriptor(parseJson(bytes, 'descriptor'), 'descriptor')
    return {}
  },
  index: (bytes, strict) => parseImageIndex(bytes, undefined, { strict }),
  layout: (bytes) => {
    parseLayoutHeader(bytes)
    return {}
  },
  manifest: (bytes, strict) => parseManifest(bytes, undefined, { strict }),
}

/** What a mount can live with: refused by `strict`, a warning otherwise. */
const TOLERATED: Readonly<Record<string, string>> = {
  // FROM scratch with no file added gives such an image, which is an empty root.
  'expected failure: empty layer, expected at least one': 'manifest: layers is empty',
  // Docker runs such an image; the entry alone is useless.
  'expected failure: Env is invalid':
    'image config: config.Env[0] is "foo", which is not of the form NAME=value',
  // The entry matches no platform, the others are sound.
  'expected failure: in the optional field platform platform.architecture is missing, expected required':
    'image index: manifests[0].platform.architecture is missing',
}

function load(kind: string): Case[] {
  return JSON.parse(readFileSync(join(CASES, `${kind}.cases.json`), 'utf8')) as Case[]
}

t.test(
  'the 67 documents of the image-spec get their verdicts (A-030 to A-040, A-105, A-130)',
  { skip },
  async (t) => {
    let count = 0
    const tolerated = new Set<string>()
    for (const [kind, parse] of Object.entries(PARSERS)) {
      for (const { comment, json, fail } of load(kind)) {
        count++
        const bytes = Buffer.from(json, 'utf8')
        if (fail)
          t.throws(() => parse(bytes, true), { code: 'IMAGE_INVALID' }, `${kind}: ${comment}`)
        else t.strictSame(parse(bytes, true).warnings ?? [], [], `${kind}: ${comment}`)
        const warning = TOLERATED[comment]
        if (warning !== undefined) {
          tolerated.add(comment)
          t.strictSame(parse(bytes, false).warnings, [warning], `tolerated: ${comment}`)
        } else if (fail) {
          t.throws(() => parse(bytes, false), { code: 'IMAGE_INVALID' }, `${kind}: ${comment}`)
        }
      }
    }
    t.equal(count, 67)
    t.strictSame([...tolerated].sort(), Object.keys(TOLERATED).sort())
  },
)

const EXAMPLES: Readonly<Record<string, string>> = {
  'oci.image.index.v1+json': 'index',
  'oci.image.manifest.v1+json': 'manifest',
  'oci.image.config.v1+json': 'config',
  'oci.descriptor.v1+json': 'descriptor',
  'oci.layout.header.v1+json': 'layout',
}

t.test('the examples in the text of the image-spec are accepted', { skip }, async (t) => {
  const file = join(CASES, 'md-examples.json')
  const examples = JSON.parse(readFileSync(file, 'utf8')) as { title: string; json: string }[]
  for (const { title, json } of examples) {
    const type = /mediatype=application\/vnd\.(.+)$/.exec(decodeURIComponent(title))?.[1] ?? ''
    const parse = PARSERS[EXAMPLES[type] ?? '']
    t.ok(parse, type)
    t.doesNotThrow(() => parse?.(Buffer.from(json, 'utf8'), true), title)
  }
  t.equal(examples.length, 13)
})

t.test('a refusal is always an OcimountError that names its document', { skip }, async (t) => {
  for (const [kind, parse] of Object.entries(PARSERS)) {
    for (const { comment, json } of load(kind).filter(({ fail }) => fail)) {
      try {
        parse(Buffer.from(json, 'utf8'), true)
      } catch (error) {
        t.ok(isOcimountError(error, 'IMAGE_INVALID'), comment)
        t.match(
          String(error),
          /Cannot parse (?:image config|descriptor|image index|oci-layout|manifest): /,
        )
      }
    }
  }
})
