// Layer blobs in real files, for tests.

import { statSync, writeFileSync } from 'node:fs'

import { fileIdentity } from '../../src/cache/file-identity.js'
import type { Digest } from '../../src/image/digest.js'
import type { LayerBlob } from '../../src/layer/layer-blob.js'
import { sha256 } from '../helpers/build-image.js'

export interface BlobOptions {
  /** The uncompressed bytes; default: those stored. */
  readonly tar?: Buffer
  /** Bytes before and after the blob in its file, as in an archive. */
  readonly around?: number
  readonly digest?: string | undefined
  readonly mediaType?: string
}

/** Writes stored bytes to a file and describes them as a source would. */
export function writeBlob(path: string, stored: Buffer, options: BlobOptions = {}): LayerBlob {
  const { tar = stored, around = 0, mediaType = 'application/octet-stream' } = options
  const margin = Buffer.alloc(around, 0xaa)
  writeFileSync(path, Buffer.concat([margin, stored, margin]))
  const digest = 'digest' in options ? options.digest : sha256(stored)
  return {
    region: { ...regionOf(path), offset: around, length: stored.length },
    digest: digest as Digest | undefined,
    diffId: sha256(tar) as Digest,
    mediaType,
  }
}

/** The whole of a file, in its present state. */
export function regionOf(path: string): LayerBlob['region'] {
  const stats = statSync(path, { bigint: true })
  return { path, offset: 0, length: Number(stats.size), identity: fileIdentity(stats) }
}
