// Digests: `<algorithm>:<encoded>`, the names of blobs (image-spec descriptor.md "Digests").
// Grammar:    algorithm = part *( ("+" / "." / "_" / "-") part ), part = 1*( a-z / 0-9 )
//             encoded   = 1*( a-z / A-Z / 0-9 / "=" / "_" / "-" )
// A digest that passes parseDigest() is safe as two path components: neither part can hold "/" or be "..".

import { createHash, type Hash } from 'node:crypto'
import { OcimountError } from '../errors.js'
import { quote } from './quote.js'

/** Name of a blob as stored; only {@link parseDigest} and {@link digestOf} make one. */
export type Digest = string & { readonly __brand: 'Digest' }

/** Digest of a layer's uncompressed tar stream, every byte of it (image-spec config.md "Layer DiffID"). */
export type DiffId = Digest

/**
 * Checks a digest's grammar and, for a registered algorithm, the length and alphabet of its encoded part.
 *
 * An algorithm that is not registered passes: an index may hold an entry for somebody else's platform
 * under it (checklist A-038). Whether content can be verified is {@link isSupportedDigest}.
 *
 * @throws OcimountError `IMAGE_INVALID`
 */
export function parseDigest(text: string): Digest {
  const problem = digestProblem(text)
  if (problem !== undefined) {
    throw new OcimountError('IMAGE_INVALID', `Cannot use digest ${quote(text)}: ${problem}`)
  }
  return text as Digest
}

/** Says what is wrong with the text as a digest, in words that can follow a colon; undefined when nothing is. */
export function digestProblem(text: string): string | undefined {
  if (text.length > MAX_LENGTH) return `it is longer than ${MAX_LENGTH} characters`
  const match = DIGEST.exec(text)
  if (match === null) return 'it is not of the form algorithm:encoded'
  const [, algorithm = '', encoded = ''] = match
  const digits = REGISTERED_DIGITS.get(algorithm)
  if (digits !== undefined && (encoded.length !== digits || !LOWER_HEX.test(encoded))) {
    return `${algorithm} needs exactly ${digits} lower-case hex digits`
  }
  return undefined
}

/** Gives the part before the colon. */
export function digestAlgorithm(digest: Digest): string {
  return digest.slice(0, digest.indexOf(':'))
}

/** Gives the encoded part, which is lower-case hex for every registered algorithm. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1)
}

/** Tells whether content under this digest can be verified here. */
export function isSupportedDigest(digest: Digest): boolean {
  return SUPPORTED.has(digestAlgorithm(digest))
}

/**
 * Gives a running hash for an algorithm, named by itself or by a digest that uses it.
 *
 * @throws OcimountError `IMAGE_UNSUPPORTED` for anything but sha256 and sha512
 */
export function createDigestHash(digestOrAlgorithm: string): Hash {
  const colon = digestOrAlgorithm.indexOf(':')
  const algorithm = colon === -1 ? digestOrAlgorithm : digestOrAlgorithm.slice(0, colon)
  if (!SUPPORTED.has(algorithm)) {
    throw new OcimountError(
      'IMAGE_UNSUPPORTED',
      `Cannot verify content with digest algorithm ${quote(algorithm)}: only sha256 and sha512 are supported`,
    )
  }
  return createHash(algorithm)
}

/** Computes the digest of bytes. */
export function digestOf(bytes: Uint8Array, algorithm = 'sha256'): Digest {
  return finishDigest(createDigestHash(algorithm).update(bytes), algorithm)
}

/** Ends a running hash made for `algorithm` and gives its digest. */
export function finishDigest(hash: Hash, algorithm = 'sha256'): Digest {
  return `${algorithm}:${hash.digest('hex')}` as Digest
}

/**
 * Refuses bytes that do not hash to `expected`.
 *
 * @param what names the bytes in the message, such as `manifest` or `layer 3`
 * @throws OcimountError `DIGEST_MISMATCH` with details `expected` and `actual`; `IMAGE_UNSUPPORTED`
 */
export function verifyDigest(bytes: Uint8Array, expected: Digest, what: string): void {
  const actual = digestOf(bytes, digestAlgorithm(expected))
  if (actual !== expected) throw digestMismatch(what, expected, actual)
}

/** Makes the error for content that hashed to something else than it should. */
export function digestMismatch(what: string, expected: Digest, actual: Digest): OcimountError {
  return new OcimountError(
    'DIGEST_MISMATCH',
    `Cannot use ${what}: its digest is ${actual} instead of ${expected}`,
    { details: { expected, actual } },
  )
}

/**
 * Computes the ChainID of every stack of layers, base first: entry `i` names layers 0 to `i` together.
 *
 * The first is the DiffID itself, each further one the SHA-256 of `<chainId> <diffId>` (image-spec
 * config.md "Layer ChainID").
 */
export function chainIds(diffIds: readonly DiffId[]): Digest[] {
  const chain: Digest[] = []
  for (const diffId of diffIds) {
    const below = chain.at(-1)
    chain.push(below === undefined ? diffId : digestOf(Buffer.from(`${below} ${diffId}`, 'latin1')))
  }
  return chain
}

const DIGEST = /^([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)$/
const LOWER_HEX = /^[0-9a-f]+$/
/** Encoded lengths that image-spec registers; blake3 is known but cannot be computed by node:crypto. */
const REGISTERED_DIGITS: ReadonlyMap<string, number> = new Map([
  ['sha256', 64],
  ['sha512', 128],
  ['blake3', 64],
])
const SUPPORTED: ReadonlySet<string> = new Set(['sha256', 'sha512'])
/** A digest becomes a path of two components, and a component holds at most 255 bytes. */
const MAX_LENGTH = 255
