// The Debian image of scripts/make-debian-image, made where it is not there yet, and what `umoci unpack` makes of its forms.

import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { whyNoMounts } from './run-cli.js'
import { snapshotTree, type TreeDifference, type TreeRow } from './trees.js'

export const DEBIAN_IMAGES =
  process.env['OCIMOUNT_DEBIAN_IMAGE'] ?? '/var/tmp/ocimount-images/debian'

const NEEDED = ['mmdebstrap', 'umoci', 'skopeo', 'rsync', 'setcap']
// Times before this are none of an extraction that a test has started.
const START_NS = Date.now() * 1e6

/** Makes the image where need be, and says why tests of it cannot run, or gives false. */
export function whyNoDebianImage(): string | false {
  if (process.getuid?.() !== 0) return 'making and mounting the image needs root'
  for (const tool of NEEDED) {
    if (spawnSync('which', [tool]).status !== 0) return `${tool} is not installed`
  }
  if (!existsSync(join(DEBIAN_IMAGES, '.complete-2'))) {
    const made = spawnSync('scripts/make-debian-image', [DEBIAN_IMAGES], {
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
    })
    if (made.status !== 0)
      return `the image could not be made: ${made.stderr.split('\n').at(-2) ?? ''}`
  }
  return whyNoMounts()
}

/** Gives the tree that umoci unpacks from a layout, which it leaves in `bundle`/rootfs. */
export async function umociTree(layout: string, bundle: string): Promise<TreeRow[]> {
  await promisify(execFile)('umoci', ['unpack', '--image', `${layout}:app`, bundle])
  return snapshotTree(join(bundle, 'rootfs'))
}

/**
 * Where a later layer changes a child and has no entry for the directory, umoci leaves the moment of extraction as the
 * directory's time; ours is that of the last entry (B-042). Only such times, later than the start of the tests, are let pass.
 */
export function isKnownToUmoci({ field, want }: TreeDifference, row: TreeRow): boolean {
  return field === 'mtime' && row.type === 'dir' && Number(want) >= START_NS
}
