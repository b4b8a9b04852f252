// Measures what a user waits for, ours and the alternatives in turn in one run, medians and ratios.
//
//   node scripts/bench/run.mjs [--runs 5] [--json FILE] [--images DIR]        as root, after scripts/setup --tests
//
// The images are real: see scripts/make-debian-image. Cold means that the page cache was emptied before.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { dropCaches, median, run, seconds, table } from './measure.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const ocimount = join(here, '../../dist/main.js')
const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    json: { type: 'string' },
    images: { type: 'string', default: '/var/tmp/ocimount-images/debian' },
  },
})
const runs = Number(options.runs)
if (process.getuid() !== 0)
  throw new Error('the benchmarks empty the page cache and mount: run them as root')

run(join(here, '../make-debian-image'), [options.images], {
  stdio: ['ignore', 'inherit', 'inherit'],
})
const dockerArchive = join(options.images, 'app.docker.tar')
const gzipLayout = `oci:${join(options.images, 'layout')}:app`
const work = mkdtempSync('/var/tmp/ocimount-bench-')
const mountpoint = join(work, 'rootfs')
mkdirSync(mountpoint)
process.on('exit', () => {
  spawnSync(process.execPath, [ocimount, 'umount', '-l', mountpoint], { stdio: 'ignore' })
  rmSync(work, { recursive: true, force: true })
})

let caches = 0
const freshCache = () => join(work, `cache-${++caches}`)

/** Mounts, gives wall seconds and what the process says of itself, unmounts. */
function mount(image, cache, { untilVerified = false } = {}) {
  const { seconds: wall, stdout } = run(process.execPath, [
    ocimount,
    'mount',
    '--json',
    '--cache-dir',
    cache,
    image,
    mountpoint,
  ])
  const summary = JSON.parse(stdout)
  while (untilVerified) {
    const status = JSON.parse(
      run(process.execPath, [ocimount, 'status', '--json', mountpoint]).stdout,
    )
    if (status.verification === 'verified') break
    if (status.verification === 'failed') throw new Error(`${image}: verification failed`)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
  }
  run(process.execPath, [ocimount, 'umount', mountpoint])
  return { wall, inside: summary.seconds }
}

/** Reads the files of an image, so that they are in the page cache. */
function warm(image) {
  const path = image === gzipLayout ? join(options.images, 'layout') : image
  run('sh', ['-c', 'find "$1" -type f -exec cat {} + >/dev/null', 'sh', path])
}

const measures = {
  floor: { what: 'floor: Node.js starting itself once', runs: [] },
  umoci: { what: 'umoci unpack, gzip layout, cold', runs: [] },
  plainFirst: { what: 'first mount, docker-archive (uncompressed)', runs: [] },
  plainFirstCold: { what: 'first mount, docker-archive (uncompressed), cold', runs: [] },
  gzipFirst: { what: 'first mount, gzip layout', runs: [] },
  gzipFirstCold: { what: 'first mount, gzip layout, cold', runs: [] },
  plainSecond: { what: 'second mount, docker-archive', runs: [] },
  gzipSecond: { what: 'second mount, gzip layout', runs: [] },
  index: { what: 'index of a 300,000-entry tar', runs: [] },
}
const record = (name, wall, inside, rss) => {
  measures[name].runs.push({ wall, inside, rss })
  process.stderr.write(`${measures[name].what}: ${seconds(wall)} s\n`)
}

const warmPlain = freshCache()
mount(dockerArchive, warmPlain, { untilVerified: true })
const warmGzip = freshCache()
mount(gzipLayout, warmGzip)
const bigTar = join(work, 'big.tar')
run(process.execPath, [join(here, 'make-big-tar.mjs'), bigTar, '300000'])

for (let turn = 0; turn < runs; turn++) {
  record('floor', run(process.execPath, [join(here, 'floor.mjs')]).seconds)

  dropCaches()
  const bundle = join(work, 'bundle')
  record(
    'umoci',
    run('umoci', ['unpack', '--image', `${join(options.images, 'layout')}:app`, bundle]).seconds,
  )
  rmSync(bundle, { recursive: true })

  for (const [name, image] of [
    ['plainFirstCold', dockerArchive],
    ['plainFirst', dockerArchive],
    ['gzipFirstCold', gzipLayout],
    ['gzipFirst', gzipLayout],
  ]) {
    const cache = freshCache()
    if (name.endsWith('Cold')) dropCaches()
    else warm(image)
    const { wall, inside } = mount(image, cache)
    record(name, wall, inside)
    rmSync(cache, { recursive: true, force: true })
  }
  for (const [name, image, cache] of [
    ['plainSecond', dockerArchive, warmPlain],
    ['gzipSecond', gzipLayout, warmGzip],
  ]) {
    const { wall, inside } = mount(image, cache)
    record(name, wall, inside)
  }
  const indexed = run(process.execPath, [join(here, 'index-tar.mjs'), bigTar])
  const { rss, elapsed } = JSON.parse(indexed.stdout)
  record('index', indexed.seconds, elapsed, rss)
}

const medians = Object.fromEntries(
  Object.entries(measures).map(([name, { runs }]) => [name, median(runs.map(({ wall }) => wall))]),
)
const { floor, umoci } = medians
const times = (ratio) => `${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(1)}×`
const rows = Object.entries(measures).map(([name, { what, runs }]) => {
  const inside = runs.map((one) => one.inside).filter((value) => value !== undefined)
  return [
    what,
    `${seconds(medians[name])} s`,
    inside.length > 0 ? `${seconds(median(inside))} s` : '',
    `${times(medians[name] / floor)} (+${seconds(medians[name] - floor)} s)`,
    times(umoci / medians[name]),
  ]
})
const rss = median(measures.index.runs.map((one) => one.rss))
const text = [
  `Linux ${release()}, Node.js ${process.version}, ${availableParallelism()} × ${cpus()[0]?.model ?? 'CPU'}; medians of ${runs}.`,
  '',
  table(['', 'wall', 'inside the process', 'of the floor', 'umoci takes'], rows),
  '',
  `Peak memory of the 300,000-entry index: ${(rss / 1e6).toFixed(0)} MB.`,
].join('\n')
console.log(text)
if (options.json) writeFileSync(options.json, JSON.stringify({ medians, measures, rss }, null, 2))
