// What `ls`, `cat`, `tree`, `stat` and `inspect` share: from the arguments to an opened image and its tree.

import type { Cache } from '../cache/cache.js'
import type { Rootfs } from '../rootfs/build-rootfs.js'
import type { Image } from '../source/image.js'
import { cacheOptions } from './cache-options.js'
import type { CommandArguments } from './commands.js'
import { printNote } from './output.js'
import { progressReporter, type ProgressUpdate } from './progress.js'

/** Opens the image that the arguments name, hands it over, and closes it whatever happens. */
export async function withImage<T>(
  args: CommandArguments,
  use: (
    image: Image,
    cache: Cache,
    report: ((update: ProgressUpdate) => void) | undefined,
  ) => Promise<T>,
): Promise<T> {
  const [{ Cache }, { openImage }, { parsePlatform }] = await Promise.all([
    import('../cache/cache.js'),
    import('../source/open-image.js'),
    import('../reference/platform.js'),
  ])
  const { configureLogger } = await import('../logger.js')
  if (args.logLevel === 'debug' || args.logLevel === 'info')
    configureLogger({ level: args.logLevel })
  const cache = await Cache.open(cacheOptions(args))
  const { report, finish } = progressReporter(args.quiet)
  try {
    const image = await openImage(args.image, {
      cache,
      ...(args.ref === undefined ? {} : { ref: args.ref }),
      ...(args.platform === undefined ? {} : { platform: parsePlatform(args.platform) }),
      ...(report === undefined
        ? {}
        : {
            onProgress: (p) => {
              report({ what: 'reading the archive', ...p })
            },
          }),
    })
    try {
      if (!args.quiet)
        for (const warning of image.warnings) printNote(`ocimount: warning: ${warning}`)
      return await use(image, cache, report)
    } finally {
      await image.close()
    }
  } finally {
    finish()
  }
}

/** The same, with the merged tree of the image. */
export async function withRootfs<T>(
  args: CommandArguments,
  use: (rootfs: Rootfs, image: Image) => Promise<T>,
): Promise<T> {
  return withImage(args, async (image, cache, report) => {
    const { buildRootfs } = await import('../rootfs/build-rootfs.js')
    const rootfs = await buildRootfs(image, {
      cache,
      verify: args.verify,
      ...(report === undefined ? {} : { onProgress: report }),
    })
    try {
      return await use(rootfs, image)
    } finally {
      await rootfs.close()
    }
  })
}
