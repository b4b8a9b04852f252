// Makes a bundle of an image and mounts it there: the part of `bundle` and `run` that the serving process does.
//
//   opening ──▶ indexing ──▶ config.json ──▶ mount points that the tree lacks, as one more layer ──▶ attach (serve-shared.ts)

import { rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { convertConfig } from '../bundle/convert.js'
import { readHostFacts } from '../bundle/host-facts.js'
import { treeOf } from '../bundle/image-tree.js'
import { generatedLayer, planMountPoints } from '../bundle/mount-points.js'
import { warnOfBarriers } from '../bundle/passage.js'
import { checkBundlePlace, ROOTFS_NAME, writeBundle } from '../bundle/write-bundle.js'
import { escapeName } from '../byte-string.js'
import { configureLogger } from '../logger.js'
import { formatPlatform } from '../image/platform.js'
import type { IdMaps } from '../mount/id-maps.js'
import type { LowerDirectory } from '../mount/lower.js'
import { isInitialUserNamespace } from '../mount/user-namespace.js'
import type { BundleRequest, BundleSummary } from './bundle-request.js'
import { receivedOptions } from './container-request.js'
import { imageRecord, layerWarnings, slownessWarning } from './mount-summary.js'
import {
  openToServe,
  undoingOnFailure,
  type Cleanup,
  type RootfsToServe,
  type ServeHooks,
} from './serve-start.js'
import { attach, prepareLower, type Attached } from './serve-shared.js'

export interface ServedBundle {
  readonly summary: BundleSummary
  readonly finished: Promise<void>
}

/**
 * Makes the bundle that a request names.
 *
 * @throws OcimountError of every room; nothing is left behind
 */
export async function serveBundle(
  request: BundleRequest,
  hooks: ServeHooks,
): Promise<ServedBundle> {
  const written: string[] = []
  try {
    return await undoingOnFailure(hooks.signal, (cleanup) =>
      start(request, hooks, { cleanup, written }),
    )
  } catch (error) {
    // Nothing is mounted in it any more.
    for (const directory of written) await rm(directory, { recursive: true, force: true })
    throw error
  }
}

async function start(
  request: BundleRequest,
  hooks: ServeHooks,
  { cleanup, written }: { readonly cleanup: Cleanup; readonly written: string[] },
): Promise<ServedBundle> {
  const place = request.mounts ? await prepareLower(request, cleanup) : undefined
  if (place === undefined) configureLogger({ level: 'silent' })
  const directory = await checkBundlePlace(request.directory)
  const open = await openToServe(request, {
    ...{ hooks, cleanup },
    spareDirectory: place?.directory,
  })
  const prepared = await prepareBundle(request, open, { directory, place })
  written.push(directory)
  const { rootfs } = prepared
  if (rootfs !== open.rootfs) cleanup.add(() => rootfs.close())
  let attached: Attached | undefined
  if (place === undefined) await cleanup.run()
  else {
    attached = await attach(
      request,
      { ...open, rootfs },
      {
        ...{ place, hooks, cleanup },
        attachment: {
          mountpoint: join(directory, ROOTFS_NAME),
          writable: request.options.readOnly === true ? false : directory,
          // Nobody but the user reaches it, and a container has its own devices.
          flags: { suid: true, dev: false, noexec: false },
          idMaps: prepared.idMaps,
          image: imageRecord(request, open.image),
          options: { driver: request.driver, verify: request.verify },
          verifyFirst: request.verify === 'before',
          bundle: { directory, isPrivate: request.isPrivate },
          ...(request.container === undefined ? {} : { container: request.container }),
        },
      },
    )
  }
  return {
    summary: summarise({ request, open, directory, ...prepared, attached }),
    finished: attached?.finished ?? Promise.resolve(),
  }
}

async function prepareBundle(
  request: BundleRequest,
  { image, rootfs }: RootfsToServe,
  { directory, place }: { readonly directory: string; readonly place: LowerDirectory | undefined },
): Promise<{
  readonly rootfs: RootfsToServe['rootfs']
  readonly warnings: readonly string[]
  readonly generated: readonly string[]
  readonly idMaps: IdMaps | undefined
}> {
  const tree = treeOf(rootfs)
  const isRootless = !(await isInitialUserNamespace())
  const conversion = await convertConfig({
    image,
    tree,
    options: {
      ...receivedOptions(request.options),
      ...(isRootless ? { rootless: 'current' } : {}),
      ...(request.hooks ? { poststop: unmountCommand(directory) } : {}),
    },
    host: await readHostFacts(),
  })
  const barriers = request.mounts ? await warnOfBarriers(directory, conversion.config) : []
  const plan = planMountPoints(tree, conversion.mountPoints)
  const layer = generatedLayer(plan)
  const whole = layer === undefined ? rootfs : await rootfs.withLayer(layer)
  try {
    await writeBundle(directory, conversion, place?.noteBundle)
  } catch (error) {
    if (whole !== rootfs) await whole.close()
    throw error
  }
  const { uidMappings: uids, gidMappings: gids } = conversion.config.linux
  return {
    rootfs: whole,
    idMaps: uids === undefined || gids === undefined ? undefined : { uids, gids },
    warnings: [...conversion.warnings, ...barriers],
    generated: plan.entries.map(({ path }) => `/${escapeName(path)}`),
  }
}

/** A hook has nothing of this environment, in which the user may have said where the state of mounts is. */
function unmountCommand(directory: string): readonly [string, ...string[]] {
  const script = fileURLToPath(new URL('./main.js', import.meta.url))
  const command = [process.execPath, script, 'umount', '--lazy', '--quiet', directory] as const
  const named = process.env['OCIMOUNT_RUNTIME_DIR'] ?? ''
  if (named === '') return command
  return ['/usr/bin/env', `OCIMOUNT_RUNTIME_DIR=${resolve(named)}`, ...command]
}

function summarise({
  request,
  open,
  directory,
  warnings,
  generated,
  attached,
}: {
  readonly request: BundleRequest
  readonly open: RootfsToServe
  readonly directory: string
  readonly warnings: readonly string[]
  readonly generated: readonly string[]
  readonly attached: Attached | undefined
}): BundleSummary {
  const { image, begin, opened, indexed } = open
  const mounted = performance.now()
  const seconds = (from: number, to: number): number => Math.round((to - from) * 10) / 10_000
  return {
    kind: 'bundle',
    id: attached?.record.id,
    directory,
    rootfs: join(directory, ROOTFS_NAME),
    image: image.name ?? request.image,
    imageId: image.configDigest,
    platform: formatPlatform(image.platform),
    driver: attached?.record.driver,
    writable: attached?.record.isWritable ?? false,
    generated,
    warnings: [
      ...open.warnings,
      ...image.warnings,
      ...layerWarnings(open.rootfs),
      ...warnings,
      ...slownessWarning(attached?.record.driver),
    ],
    seconds: seconds(begin, mounted),
    openSeconds: seconds(begin, opened),
    indexSeconds: seconds(opened, indexed),
    mountSeconds: seconds(indexed, mounted),
    pid: attached?.record.pid,
  }
}
