// What `ls`, `cat`, `tree`, `stat` and `inspect` share: from the arguments to an opened image and its tree.

import type { Rootfs } from '../rootfs/build-rootfs.js'
import type { Image } from '../source/image.js'
import { cacheOptions } from './cache-options.js'
import type { CommandArguments } from './commands.js'
import type { OpenOptions } from './open-rootfs.js'
import { layerWarnings } from './mount-summary.js'
import { printWarnings } from './output.js'
import { progressReporter } from './progress.js'

/** Opens the image that the arguments name, hands it over, and closes it whatever happens. */
export async function withImage<T>(
  args: CommandArguments,
  use: (image: Image) => Promise<T>,
): Promise<T> {
  const { openNamed } = await import('./open-rootfs.js')
  const open = async (options: OpenOptions): Promise<{ image: Image }> => ({
    image: await openNamed(args, options),
  })
  return look(args, open, ({ image }) => use(image))
}

/** The same, with the merged tree of the image. */
export async function withRootfs<T>(
  args: CommandArguments,
  use: (rootfs: Rootfs, image: Image) => Promise<T>,
): Promise<T> {
  const { openRootfs } = await import('./open-rootfs.js')
  return look(
    args,
    (options) => openRootfs(args, { ...options, verify: args.verify }),
    async ({ rootfs, image }) => {
      try {
        if (!args.quiet) printWarnings(layerWarnings(rootfs))
        return await use(rootfs, image)
      } finally {
        await rootfs.close()
      }
    },
  )
}

async function look<O extends { readonly image: Image }, T>(
  args: CommandArguments,
  open: (options: OpenOptions) => Promise<O>,
  use: (opened: O) => Promise<T>,
): Promise<T> {
  const [{ Cache }, { configureLogger }, { temporaryDirectory, withSpareCache }] =
    await Promise.all([
      import('../cache/cache.js'),
      import('../logger.js'),
      import('./spare-cache.js'),
    ])
  if (args.logLevel === 'debug' || args.logLevel === 'info')
    configureLogger({ level: args.logLevel })
  const spare = temporaryDirectory()
  const { report, finish } = progressReporter(args.quiet)
  const said: string[] = []
  const onWarning = (warning: string): void => void said.push(warning)
  try {
    const { opened, warnings } = await withSpareCache(
      () => Cache.open(cacheOptions(args)),
      spare.make,
      async ({ cache, warnings }) => ({
        opened: await open({ cache, onProgress: report, onWarning }),
        warnings,
      }),
    )
    const { image } = opened
    try {
      if (!args.quiet) printWarnings([...warnings, ...image.warnings, ...said])
      return await use(opened)
    } finally {
      await image.close()
    }
  } finally {
    finish()
    await spare.remove()
  }
}
