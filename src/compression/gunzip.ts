// gzip (RFC 1952), on zlib's inflate: it checks header flags, FHCRC, CRC-32 and ISIZE of each member and goes
// from member to member by itself, at no cost for a blob of 300,000 of them. It stops, without a word, at a
// NUL after a member, and drops whatever follows (checklist S-24): that rest is looked at here.

import { createGunzip } from 'node:zlib'

import { OcimountError, messageOf, systemErrorCode } from '../errors.js'
import { OUTPUT_CHUNK, runEngine } from './engine.js'
import { expectPadding } from './padding.js'

/** Decompresses gzip; see {@link decompress} for the contract. */
export function gunzip(input: AsyncIterable<Buffer>, what: string): AsyncGenerator<Buffer, void> {
  return runEngine(createGunzip({ chunkSize: OUTPUT_CHUNK }), input, {
    onRest: (rest) => {
      expectPadding(rest, what, 'gzip member')
    },
    translate: (error) => gzipError(error, what),
  })
}

function gzipError(error: unknown, what: string): Error {
  switch (systemErrorCode(error)) {
    case 'Z_BUF_ERROR':
      return corrupt(what, 'the gzip stream ends early', error)
    case 'Z_DATA_ERROR':
      return corrupt(what, `the gzip stream is damaged (${messageOf(error)})`, error)
    case 'Z_NEED_DICT':
    case 'Z_STREAM_ERROR':
      return corrupt(what, `the gzip stream is not valid (${messageOf(error)})`, error)
    default:
      return new OcimountError('INTERNAL', `Cannot decompress ${what}: ${messageOf(error)}`, {
        cause: error,
      })
  }
}

function corrupt(what: string, why: string, cause: unknown): OcimountError {
  return new OcimountError('LAYER_CORRUPT', `Cannot decompress ${what}: ${why}`, { cause })
}
