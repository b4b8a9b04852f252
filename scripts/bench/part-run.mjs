// What a user waits for until a container has run: ocimount, cold with an empty cache and warm with a full one, beside umoci and the
// runtime, beside podman, and beside the runtime alone over a bundle that is mounted already.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { dropCaches, run, sleep } from './measure.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const COMMAND = ['/bin/true']

export function measureRuns({ images, ocimount, samples, runs }) {
  const filled = ocimount.filledCache(images.plain)
  const bundle = join(ocimount.work, 'run-bundle')
  ocimount.command('bundle', ['--cache-dir', filled, images.plain, bundle, '--', ...COMMAND])
  const runtime = findRuntime(bundle)
  process.stderr.write(`run: with ${runtime}\n`)
  try {
    for (let turn = 0; turn < runs; turn++) {
      samples.add('run.floor.wall', run(process.execPath, [join(here, 'floor.mjs')]).seconds)
      samples.add('run.runtime.wall', runBundle(runtime, bundle))

      const cache = ocimount.freshCache()
      dropCaches()
      samples.add('run.first-cold.wall', runImage(ocimount, runtime, images.plain, cache))
      rmSync(cache, { recursive: true, force: true })
      samples.add('run.second.wall', runImage(ocimount, runtime, images.plain, filled))

      dropCaches()
      samples.add('run.umoci.wall', unpackAndRun(ocimount, runtime, images.layout))
      dropCaches()
      samples.add('run.podman.wall', loadAndRun(ocimount, runtime, images.plain))
    }
  } finally {
    ocimount.command('umount', ['--purge', bundle])
  }
}

/** crun refuses machines with hybrid cgroups, where runc does what is asked of it. */
function findRuntime(bundle) {
  for (const runtime of ['crun', 'runc']) {
    try {
      runBundle(runtime, bundle)
      return runtime
    } catch {
      continue
    }
  }
  throw new Error('neither crun nor runc runs a container here')
}

function runBundle(runtime, bundle) {
  return run(runtime, ['run', '--bundle', bundle, `bench-${process.pid}`], { stdio: 'ignore' })
    .seconds
}

function runImage(ocimount, runtime, image, cache) {
  const args = ['-q', '--runtime', runtime, '--cache-dir', cache, image, '--', ...COMMAND]
  const { seconds } = ocimount.command('run', args)
  // The server clears up behind the container; what is measured next must not wait for it.
  const containers = join(process.env.OCIMOUNT_DATA_DIR, 'containers')
  while (readdirSync(containers).length > 0) sleep(20)
  return seconds
}

function unpackAndRun({ work }, runtime, layout) {
  const bundle = join(work, 'umoci-bundle')
  const unpack = run('umoci', ['unpack', '--image', `${layout}:app`, bundle])
  const path = join(bundle, 'config.json')
  const config = JSON.parse(readFileSync(path, 'utf8'))
  Object.assign(config.process, { terminal: false, args: COMMAND })
  writeFileSync(path, JSON.stringify(config))
  const seconds = unpack.seconds + runBundle(runtime, bundle)
  rmSync(bundle, { recursive: true })
  return seconds
}

/** With a storage of its own, so that nothing is there already; and limits that every machine can have. */
function loadAndRun({ work }, runtime, archive) {
  const root = join(work, 'podman')
  mkdirSync(root)
  const podman = (...args) =>
    run('podman', [
      ...['--root', join(root, 'root'), '--runroot', join(root, 'run')],
      ...['--cgroup-manager', 'cgroupfs', '--runtime', runtime, ...args],
    ])
  const load = podman('load', '-q', '-i', archive)
  const name = load.stdout.trim().split(' ').at(-1)
  const limits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024']
  const start = podman('run', '--rm', '--network', 'none', ...limits, name, ...COMMAND)
  podman('rmi', '--all', '--force')
  run('sh', ['-c', 'umount "$1"/root/overlay; rm -rf "$1"', 'sh', root])
  return load.seconds + start.seconds
}
