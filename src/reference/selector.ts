// What follows the path in `oci:PATH:REF`, and what --ref takes: which of several images is meant.

import { OcimountError } from '../errors.js'
import { digestProblem, parseDigest, type Digest } from '../image/digest.js'
import { quote } from '../image/quote.js'

export type Selector =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'digest'; readonly digest: Digest }
  /** Place in the list of images, from 0. */
  | { readonly kind: 'index'; readonly index: number }

/**
 * Parses `NAME`, `@DIGEST` or `@N`.
 *
 * A name means what its source makes of it: an annotation in a layout, a tag or an image id in a docker-archive.
 *
 * @throws OcimountError `REFERENCE_INVALID`
 */
export function parseSelector(text: string): Selector {
  if (text === '' || text.includes('\0')) throw invalid(text, 'it is not a name')
  if (!text.startsWith('@')) return { kind: 'name', name: text }
  const rest = text.slice(1)
  if (/^(?:0|[1-9][0-9]{0,8})$/.test(rest)) return { kind: 'index', index: Number(rest) }
  if (digestProblem(rest) === undefined) return { kind: 'digest', digest: parseDigest(rest) }
  throw invalid(text, 'after "@" there must be a number or a digest')
}

function invalid(text: string, why: string): OcimountError {
  return new OcimountError('REFERENCE_INVALID', `Cannot select image ${quote(text)}: ${why}`)
}
