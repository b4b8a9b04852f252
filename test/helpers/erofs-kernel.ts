// The kernel's own EROFS as the oracle: mounts an image over device files and describes what it shows.

import { execFile, execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import type { PathSnapshot, TreeSnapshot } from './erofs-tree.js'

const SCRIPT = 'test/helpers/erofs-kernel.py'

/** More often on a disk than what `os.tmpdir()` gives. */
const SCRATCH = '/var/tmp'
/** Filesystems from whose files the kernel does not mount EROFS: tmpfs and overlayfs. */
const UNFIT_FILESYSTEMS: readonly number[] = [0x01021994, 0x794c7630]

export type MountKind = 'file' | 'loop'

/** Says why images cannot be mounted here from a file, a loop device or a file of FUSE, or gives false. */
export function kernelSkipReason(kind: MountKind | 'fuse' = 'file'): string | false {
  if (!mayMount()) return 'mounting needs CAP_SYS_ADMIN in the initial user namespace'
  if (!/\berofs$/m.test(readProc('filesystems'))) return 'the kernel lacks EROFS'
  const [major = 0, minor = 0] = readProc('sys/kernel/osrelease').split('.').map(Number)
  if (major < 6 || (major === 6 && minor < 12)) return 'the kernel is older than 6.12'
  if (kind !== 'fuse' && UNFIT_FILESYSTEMS.includes(statfsSync(SCRATCH).type))
    return `${SCRATCH} is on tmpfs or overlayfs`
  if (kind === 'loop' && !existsSync('/dev/loop-control')) return 'there are no loop devices'
  if (spawnSync('python3', ['--version']).status !== 0) return 'python3 is missing'
  return false
}

function mayMount(): boolean {
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(readProc('self/status'))?.[1] ?? '0'
  const isInitialNamespace = /^\s*0\s+0\s+4294967295\s*$/.test(readProc('self/uid_map'))
  return isInitialNamespace && ((BigInt(`0x${capabilities}`) >> CAP_SYS_ADMIN) & 1n) === 1n
}

const CAP_SYS_ADMIN = 21n

function readProc(path: string): string {
  return readFileSync(`/proc/${path}`, 'latin1')
}

/** A directory on a disk, as EROFS wants its files; gone with the test, and before it what it held open. */
export class MountFixture {
  readonly path = mkdtempSync(join(SCRATCH, 'ocimount-erofs-'))
  readonly #undo: (() => void)[] = []

  constructor(t: Test) {
    this.#undo.push(() => {
      rmSync(this.path, { recursive: true })
    })
    t.teardown(() => {
      for (const undo of this.#undo.reverse()) undo()
    })
  }

  /** Mounts an image and gives the mountpoint. A device's content may be the name of a file. */
  mount(image: Buffer, devices: readonly (Buffer | string)[], kind: MountKind): string {
    const options = devices.map(
      (content, index) => `device=${this.#source(`${index}`, content, kind)}`,
    )
    const source = this.#source('image', image, kind)
    const mountpoint = join(this.path, 'mnt')
    mkdirSync(mountpoint)
    execFileSync('python3', [SCRIPT, 'mount', source, mountpoint, options.join(',')])
    this.#undo.push(() => execFileSync('umount', [mountpoint]))
    return mountpoint
  }

  #source(fileName: string, content: Buffer | string, kind: MountKind): string {
    const path = typeof content === 'string' ? content : join(this.path, fileName)
    if (typeof content !== 'string') writeFileSync(path, content)
    if (kind === 'file') return path
    const losetup = ['--find', '--show', '--read-only', path]
    const device = execFileSync('losetup', losetup, { encoding: 'utf8', stdio: 'pipe' }).trim()
    this.#undo.push(() => execFileSync('losetup', ['--detach', device]))
    return device
  }
}

/** Describes a mounted tree, from a process of its own. */
export async function snapshotMount(mountpoint: string): Promise<TreeSnapshot> {
  const { stdout } = await promisify(execFile)('python3', [SCRIPT, 'snapshot', mountpoint], {
    maxBuffer: 1 << 28,
  })
  const lines = stdout.split('\n').filter((line) => line !== '')
  return new Map(lines.map((line) => JSON.parse(line) as [string, PathSnapshot]))
}
