// From what names an image to its opened layers and tree: what mounting one and looking into one share.

import type { Cache } from '../cache/cache.js'
import { parsePlatform } from '../reference/platform.js'
import { buildRootfs, type BuildRootfsOptions, type Rootfs } from '../rootfs/build-rootfs.js'
import type { Image } from '../source/image.js'
import { openImage } from '../source/open-image.js'
import type { ProgressUpdate } from './progress.js'
import { registryOptions, type RegistryArguments } from './registry-options.js'

/** What the user named. */
export interface NamedImage extends RegistryArguments {
  readonly image: string
  readonly ref?: string | undefined
  readonly platform?: string | undefined
}

export interface OpenOptions {
  readonly cache: Cache
  readonly onProgress?: ((update: ProgressUpdate) => void) | undefined
  /** Of what indexing its layers has to say. */
  readonly onWarning?: ((warning: string) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Opens an image. `forTree`: its tree is to be made, too.
 *
 * @throws OcimountError `USAGE` for a platform that is none, and those of `openImage`
 */
export function openNamed(
  named: NamedImage,
  { cache, onProgress, signal }: OpenOptions,
  forTree = false,
): Promise<Image> {
  const { image, ref, platform } = named
  return openImage(image, {
    ...{ cache, ref, signal, forTree },
    ...registryOptions(named),
    platform: platform === undefined ? undefined : parsePlatform(platform),
    onProgress:
      onProgress &&
      ((progress) => {
        onProgress({ what: 'reading the archive', ...progress })
      }),
  })
}

/** An image with its tree, both to be closed. */
export interface OpenedRootfs {
  readonly image: Image
  readonly rootfs: Rootfs
  /** When the image was open, as `performance.now()` says it. */
  readonly opened: number
}

/**
 * Opens an image and makes its tree. Leaves nothing open when it fails.
 *
 * @throws OcimountError of {@link openNamed} and `buildRootfs`
 */
export async function openRootfs(
  named: NamedImage,
  options: OpenOptions & Pick<BuildRootfsOptions, 'verify' | 'inPlace'>,
): Promise<OpenedRootfs> {
  const image = await openNamed(named, options, true)
  const opened = performance.now()
  try {
    return { image, opened, rootfs: await buildRootfs(image, options) }
  } catch (error) {
    await image.close()
    throw error
  }
}
