// The driver `kernel` without a server: EROFS reads the files that the layers lie in by itself.
//
//   file without a name, beside the cache: ──source=──▶ fsmount of erofs ──move_mount──▶ mount point
//   the metadata, its addresses moved to                   ▲
//   where each layer begins in its file                    │ device=, each file once
//                                             archive, or blobs of a layout
//
// The metadata file has no name, so that nobody can cut it under the kernel; it goes with the mount, and a crash leaves nothing.
// It is written from bytes that were checked when they were loaded, and read by nobody but the kernel: it needs no seal.

import { fstatSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { escapeText } from '../byte-string.js'
import { BLOCK_SIZE } from '../erofs/format.js'
import { relocateImage, type DeviceMove, type RelocatedImage } from '../erofs/relocate.js'
import { OcimountError, systemErrorCode } from '../errors.js'
import type { NativeBindings, NativeDevice } from '../native.js'
import { attachErofs, kernelUnavailable } from './attach-erofs.js'
import type { LiveMount, MountFlags, MountTarget } from './driver.js'
import { widenReadAhead } from './read-ahead.js'
import { unservedMount } from './unserved-mount.js'

type Region = Extract<NativeDevice, { kind: 'region' }>

/** One file, whatever number of layers lies in it. */
interface DirectFile {
  /** One of the descriptors that are open on it. */
  readonly region: Region
  readonly isUnchanged: () => boolean
}

/**
 * Mounts an image whose devices are regions of local files; nothing of this process is needed afterwards.
 *
 * @throws OcimountError `IMAGE_UNSUPPORTED` for a device that is no such region, or that the kernel cannot read where it lies;
 *   `SOURCE_CHANGED`, `DRIVER_UNAVAILABLE`, `MOUNT_FAILED`, `STORAGE_FULL`, `STORAGE_FAILED`
 */
export async function mountDirect(
  target: MountTarget,
  mountpoint: string,
  options: {
    readonly native: NativeBindings
    readonly flags: MountFlags
    readonly place: NonNullable<MountFlags['direct']>
  },
): Promise<LiveMount> {
  const { native, flags, place } = options
  const { files, moves } = findFiles(target)
  const { image, ends } = relocate(target, files, moves)
  checkEnds(files, ends)
  const imageFile = await place.writeUnnamed([image])
  try {
    const deviceFds = files.map(({ region }) => region.fd)
    const entry = await attachErofs(mountpoint, flags, async (at) => {
      try {
        await native.mountErofsFromFiles({ imageFd: imageFile.fd, deviceFds, ...at })
      } catch (error) {
        if (systemErrorCode(error) !== 'ENOTBLK') throw error
        throw await explainRefusal(place.root, error)
      }
      // From here on nobody watches the files.
      if (!files.every(({ isUnchanged }) => isUnchanged())) throw changed()
    })
    await widenReadAhead(entry.device)
    return unservedMount(entry)
  } finally {
    await imageFile.close()
  }
}

/** Finds the distinct files behind the devices, and where in them each device begins. */
function findFiles({ image, devices }: MountTarget): {
  readonly files: readonly DirectFile[]
  readonly moves: readonly DeviceMove[]
} {
  const files: DirectFile[] = []
  const numbers = new Map<string, number>()
  const moves = devices.map((device, index) => {
    const name = escapeText(image.devices[index]?.tag ?? '')
    const region = device.native(0)
    if (region.kind === 'virtual') {
      throw unsupported('it has a sparse file that the kernel cannot read where it lies')
    }
    if (region.kind !== 'region') throw unsupported(`layer ${name} is not plain in a local file`)
    if (region.offset % BLOCK_SIZE !== 0) {
      throw unsupported(
        `layer ${name} does not begin on a block of ${BLOCK_SIZE} bytes in its file`,
      )
    }
    const { dev, ino } = fstatSync(region.fd, { bigint: true })
    const key = `${dev}:${ino}`
    const number = numbers.get(key) ?? files.push(openedFile(region)) - 1
    numbers.set(key, number)
    return { device: number, offset: region.offset }
  })
  return { files, moves }
}

function openedFile(region: Region): DirectFile {
  return {
    region,
    isUnchanged: () => {
      const now = fstatSync(region.fd, { bigint: true })
      return (
        Number(now.size) === region.fileSize &&
        now.mtimeNs === region.mtimeNs &&
        now.ctimeNs === region.ctimeNs
      )
    },
  }
}

function relocate(
  { image }: MountTarget,
  files: readonly DirectFile[],
  moves: readonly DeviceMove[],
): RelocatedImage {
  const table = files.map(({ region }, index) => ({ tag: `file${index}`, size: region.fileSize }))
  return relocateImage(image.bytes.subarray(0, image.size), moves, table)
}

/** EROFS reads whole blocks, and what ends within one is an error to it, or zeros. */
function checkEnds(files: readonly DirectFile[], ends: readonly number[]): void {
  for (const [index, { region }] of files.entries()) {
    if ((ends[index] ?? 0) <= region.fileSize) continue
    throw unsupported(`a layer ends with its file, within a block of ${BLOCK_SIZE} bytes`)
  }
}

const NAMES_OF_FILESYSTEMS = new Map([
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
  [0x794c7630, 'overlayfs'],
])

/** Not a block device, says the kernel; it means that it does not take a file, of this filesystem or any. */
async function explainRefusal(directory: string, cause: unknown): Promise<OcimountError> {
  const { type } = await statfs(directory)
  const name = NAMES_OF_FILESYSTEMS.get(type)
  const where = name === undefined ? '' : `, which is on ${name}`
  return kernelUnavailable(
    `it does not mount EROFS from a file beside the cache ${escapeText(directory)}${where}; ` +
      'put the cache on a disk with --cache-dir, or mount without --direct',
    cause,
  )
}

function unsupported(why: string): OcimountError {
  return new OcimountError(
    'IMAGE_UNSUPPORTED',
    `Cannot mount the image directly: ${why}; mount it without --direct`,
  )
}

function changed(): OcimountError {
  return new OcimountError(
    'SOURCE_CHANGED',
    'Cannot mount the image directly: a file of it changed meanwhile',
  )
}
