// One image under all drivers at once: each call must be answered as the kernel's own EROFS answers it.

import t from 'tap'
import { textOf, type ByteString } from '../../src/byte-string.js'
import { DRIVER_CASES, type DriverCase } from '../helpers/mount-drivers.js'
import { randomTree } from '../helpers/random-erofs-tree.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { run, serve, targetOf } from '../helpers/with-mount.js'

const SCRIPT = 'test/helpers/dump-calls.py'
const SEED = Number(process.env['OCIMOUNT_TEST_SEED'] ?? 20_261_103)
const ROUNDS = 3

const END = ['ENXIO', 'ENXIO']

type Answers = Map<string, unknown>

/** What a driver is known to answer where the kernel's EROFS answers `want`: its limits, and no more. */
function knownAnswer(
  driver: DriverCase['name'],
  { call, size, names }: { readonly call: string; readonly size: number; readonly names: unknown },
  want: unknown,
): unknown {
  if (driver !== 'fuse-native') return want
  switch (call) {
    case 'listxattr of another user':
      // Names of `trusted.*` are listed to everyone; getxattr(2) is checked by the kernel.
      return names
    case 'lstat': {
      const status = want as Record<'mtime' | 'ctime' | 'atime', string>
      const { mtime, ctime, atime } = status
      return { ...status, mtime: clamp(mtime), ctime: clamp(ctime), atime: clamp(atime) }
    }
    case 'readdir':
      return (want as [string, number, boolean][]).filter(([name]) => isText(name))
    case 'segments':
      // libfuse 2 does not pass lseek(2) on, and the kernel then takes a file for all data.
      return size === 0 ? want : [[0, size], END]
    case 'readlink':
      return isText(want as string) ? want : 'EIO'
    default:
      return want
  }
}

function sizeOf(answers: Answers, path: string): number {
  return (answers.get(`${path}\0lstat`) as { st_size: number } | undefined)?.st_size ?? 0
}

/** Milliseconds from 1970 on. */
function clamp(nanoseconds: string): string {
  const milliseconds = BigInt(nanoseconds) / 1_000_000n
  return String(milliseconds > 0n ? milliseconds * 1_000_000n : 0n)
}

function isText(bytes: string): boolean {
  return textOf(bytes as ByteString) !== undefined
}

async function dump(mountpoint: string): Promise<Answers> {
  const { status, stdout, stderr } = await run(['python3', SCRIPT, mountpoint])
  if (status !== 0) throw new Error(stderr)
  const lines = stdout.split('\n').filter((line) => line !== '')
  return new Map(
    lines.map((line) => {
      const [path, call, answer] = JSON.parse(line) as [string, string, unknown]
      return [`${path}\0${call}`, answer]
    }),
  )
}

function compare(driver: DriverCase['name'], got: Answers, want: Answers): string[] {
  const differences: string[] = []
  for (const key of new Set([...got.keys(), ...want.keys()])) {
    const [path = '', call = ''] = key.split('\0')
    if (driver === 'fuse-native' && !isText(path)) continue
    const a = got.get(key)
    const names = want.get(`${path}\0listxattr`)
    const b = knownAnswer(driver, { call, size: sizeOf(want, path), names }, want.get(key))
    if (JSON.stringify(a) === JSON.stringify(b)) continue
    const show = (value: unknown): string => JSON.stringify([value]).slice(0, 300)
    differences.push(`${path.slice(0, 60)} ${call}: got ${show(a)}, want ${show(b)}`)
  }
  return differences.slice(0, 20)
}

function isTrustedList(answer: unknown): boolean {
  return JSON.stringify(answer).includes('trusted.')
}

const [reference, ...others] = DRIVER_CASES

t.test(`all drivers answer alike (seed ${SEED})`, { skip: reference!.skip }, async (t) => {
  const random = new SeededRandom(SEED)
  const contents = [random.bytes(600_064), random.bytes(70_144)]
  for (let round = 0; round < ROUNDS; round++) {
    const target = targetOf(randomTree(random, contents), contents)
    const able = [reference!, ...others.filter(({ skip }) => skip === false)]
    const mounts = await Promise.all(able.map(({ name: driver }) => serve(t, target, { driver })))
    const [want, ...all] = await Promise.all(mounts.map(({ mountpoint }) => dump(mountpoint)))
    t.ok(want!.size > 50)
    t.ok([...want!.values()].some(isTrustedList), 'the tree has names that only root is told')
    for (const [index, got] of all.entries()) {
      const { name } = able[index + 1]!
      t.strictSame(compare(name, got, want!), [], `round ${round}: ${name}`)
    }
    for (const mount of mounts) await mount.unmount()
    await Promise.all(mounts.map(({ finished }) => finished))
  }
})
