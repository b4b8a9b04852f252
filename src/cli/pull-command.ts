// `ocimount pull IMAGE…`

import { escapeText } from '../byte-string.js'
import { Cache } from '../cache/cache.js'
import { OcimountError } from '../errors.js'
import { formatPlatform } from '../image/platform.js'
import { usedPaths } from '../layer/layer-store.js'
import { configureLogger } from '../logger.js'
import { parsePlatform } from '../reference/platform.js'
import { parseImageReference } from '../reference/reference.js'
import { buildRootfs } from '../rootfs/build-rootfs.js'
import { rootfsKey, ROOTFS_WRITER_VERSION } from '../rootfs/rootfs-file.js'
import type { Image } from '../source/image.js'
import { openImage } from '../source/open-image.js'
import type { CommandArguments } from './commands.js'
import { EXIT, type ExitStatus } from './exit-codes.js'
import { formatBytes, formatSeconds, printJson, printNote } from './output.js'
import { progressReporter, type ProgressUpdate } from './progress.js'
import { registryOptions } from './registry-options.js'

/** Fetches and indexes images one after the other; with --pin keeps them, with --no-pin no longer. */
export async function run(args: CommandArguments): Promise<ExitStatus> {
  const references = args.images.map((text) => {
    const parsed = parseImageReference(text)
    if (parsed.kind === 'registry') return { text, parsed }
    const why = 'it is not the name of an image in a registry'
    throw new OcimountError('USAGE', `Cannot pull ${escapeText(text)}: ${why}`)
  })
  if (args.logLevel === 'debug' || args.logLevel === 'info')
    configureLogger({ level: args.logLevel })
  const cache = await Cache.open({ dir: args.cacheDir })
  const ending = new AbortController()
  const end = (): void => {
    ending.abort()
  }
  process.on('SIGINT', end).on('SIGTERM', end).on('SIGHUP', end)
  const pulled = []
  const { report, finish } = progressReporter(args.quiet)
  try {
    for (const { parsed } of references) {
      const image = await openImage(parsed, {
        ...{ cache, signal: ending.signal, ...registryOptions(args) },
        platform: args.platform === undefined ? undefined : parsePlatform(args.platform),
      })
      try {
        pulled.push(await pull(image, { args, cache, report, signal: ending.signal }))
      } finally {
        await image.close()
      }
      finish()
      const done = pulled.at(-1)
      if (!args.quiet && !args.json && done !== undefined) announce(done)
    }
  } finally {
    finish()
    process.off('SIGINT', end).off('SIGTERM', end).off('SIGHUP', end)
  }
  if (args.json) printJson(pulled)
  return EXIT.done
}

interface PullContext {
  readonly args: CommandArguments
  readonly cache: Cache
  readonly report: ((update: ProgressUpdate) => void) | undefined
  readonly signal: AbortSignal
}

interface Pulled {
  readonly name: string
  readonly digest: string
  readonly imageId: string
  readonly platform: string
  readonly layers: number
  /** Of the layers as they are stored. */
  readonly bytes: number
  readonly pinned: boolean
  readonly seconds: number
  readonly warnings: readonly string[]
}

async function pull(image: Image, { args, cache, report, signal }: PullContext): Promise<Pulled> {
  const begin = performance.now()
  const name = image.name ?? image.source.path
  // Before the first layer comes in, so that none is pruned before the last one is there.
  if (args.pin === true) await cache.keep(name, await pathsOf(image, cache))
  const rootfs = await buildRootfs(image, {
    ...{ cache, signal, verify: 'before', whole: true },
    onProgress: report,
  })
  await rootfs.close()
  if (args.pin === false) await cache.keep(name, [])
  return {
    name,
    digest: image.manifestDigest ?? image.configDigest,
    imageId: image.configDigest,
    platform: formatPlatform(image.platform),
    layers: image.layers.length,
    bytes: image.layers.reduce((sum, { region }) => sum + region.length, 0),
    pinned: args.pin === true,
    seconds: Math.round(performance.now() - begin) / 1000,
    warnings: image.warnings,
  }
}

/** Everything that a mount of the image without its registry takes. */
async function pathsOf(image: Image, cache: Cache): Promise<string[]> {
  const key = rootfsKey(image.layers.map(({ diffId }) => diffId))
  const layers = await Promise.all(
    image.layers.map(async (layer) => [layer.region.path, ...(await usedPaths(layer, cache))]),
  )
  const documents = (image.documentDigests ?? []).map((digest) => cache.blobPath(digest))
  return [cache.rootfsPath(ROOTFS_WRITER_VERSION, key), ...documents, ...layers.flat()]
}

function announce({ name, platform, layers, bytes, seconds, warnings }: Pulled): void {
  for (const warning of warnings) printNote(`ocimount: warning: ${warning}`)
  const what = `${layers} ${layers === 1 ? 'layer' : 'layers'}, ${formatBytes(bytes)}`
  printNote(
    `ocimount: pulled ${escapeText(name)} (${platform}): ${what}, ${formatSeconds(seconds)}`,
  )
}
