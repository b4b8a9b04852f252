// What the tests of this room share.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import rootTest from 'tap'
import type { Test } from 'tap'
import { Cache } from '../../src/cache/cache.js'
import type { LayerBlob } from '../../src/layer/layer-blob.js'
import type { Image } from '../../src/source/image.js'
import { openImage } from '../../src/source/open-image.js'
import type { OpenImageOptions } from '../../src/source/open-image.js'
import { buildImage } from '../helpers/build-image.js'
import type { BuiltImage, ImageSpec } from '../helpers/build-image.js'
import { simpleLayer } from '../helpers/tar-members.js'
import type { Member } from '../helpers/tar-members.js'

export type TestOptions = Partial<OpenImageOptions>

/** Opens with a cache that the tests of one file share, and closes when the test ends. */
export async function open(t: Test, path: string, options: TestOptions = {}): Promise<Image> {
  const cache = options.cache ?? (await sharedCache())
  const image = await openImage(path, { platform: undefined, ...options, cache })
  t.teardown(() => image.close())
  return image
}

/** Gives the cache that the tests of one file share; most never write to it. */
export function sharedCache(): Promise<Cache> {
  shared ??= testCache(rootTest)
  return shared
}

let shared: Promise<Cache> | undefined

/** Makes an empty cache that goes with the test. */
export function testCache(t: Pick<Test, 'teardown'>): Promise<Cache> {
  const directory = mkdtempSync(join(tmpdir(), 'ocimount-test-'))
  t.teardown(() => {
    rmSync(directory, { recursive: true, force: true })
  })
  return Cache.open({ dir: join(directory, 'cache') })
}

/** An image of one or two small layers for the platform that most tests use. */
export function sample(spec: Partial<ImageSpec> = {}): BuiltImage {
  const layers = [simpleLayer({ 'etc/': '', 'etc/name': 'base\n' }), simpleLayer({ x: 'upper\n' })]
  return buildImage({ layers, ...spec })
}

/** Reads what a layer's region holds. */
export function stored(layer: LayerBlob): Buffer {
  const { path, offset, length } = layer.region
  return readFileSync(path).subarray(offset, offset + length)
}

/** Replaces the content of one member; a test with a wrong path fails. */
export function replace(members: readonly Member[], path: string, bytes: Buffer): Member[] {
  if (!members.some((member) => member.path === path)) throw new Error(`no member ${path}`)
  return members.map((member) => (member.path === path ? { path, type: 'file', bytes } : member))
}

/** Takes one member out; a test with a wrong path fails. */
export function without(members: readonly Member[], ...paths: string[]): Member[] {
  for (const path of paths) {
    if (!members.some((member) => member.path === path)) throw new Error(`no member ${path}`)
  }
  return members.filter((member) => !paths.includes(member.path))
}

/** Gives the other architecture than this machine's, which is what a warning is about. */
export const FOREIGN = process.arch === 'arm64' ? 'amd64' : 'arm64'
export const NATIVE = process.arch === 'arm64' ? 'arm64' : 'amd64'
