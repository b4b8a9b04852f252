// Measures what a user waits for, ours and the alternatives in turn in one run, medians and ratios.
//
//   npm run bench -- [--runs 5] [--only mount,run,read,readers,memory,registry] [--json FILE] [--readme] [--images DIR]
//
// As root, after scripts/setup --tests. --readme puts the figures and the picture into the README. The images are real: see
// images.mjs and scripts/make-debian-image; they are made once. Nothing else should run meanwhile.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { prepareImages } from './images.mjs'
import { mountsBelow, Samples } from './measure.mjs'
import { Ocimount } from './ocimount.mjs'
import { measureMemory } from './part-memory.mjs'
import { measureMounts } from './part-mount.mjs'
import { measureReaders } from './part-readers.mjs'
import { measureReading } from './part-read.mjs'
import { measureRegistry } from './part-registry.mjs'
import { measureRuns } from './part-run.mjs'
import { describe, updateReadme } from './report.mjs'
import { checkRequirements } from './requirements.mjs'
import { describeTargets } from './targets.mjs'

const PARTS = {
  mount: measureMounts,
  run: measureRuns,
  read: measureReading,
  readers: measureReaders,
  memory: measureMemory,
  registry: measureRegistry,
}

const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    only: { type: 'string', default: Object.keys(PARTS).join() },
    json: { type: 'string' },
    readme: { type: 'boolean', default: false },
    images: { type: 'string', default: '/var/tmp/ocimount-images/debian' },
  },
})
const runs = Number(options.runs)
const parts = options.only.split(',')
const unknown = parts.filter((part) => !(part in PARTS))
if (!(runs >= 1)) throw new Error(`--runs ${options.runs}: a number is needed`)
if (unknown.length > 0)
  throw new Error(`--only ${unknown}: the parts are ${Object.keys(PARTS).join(', ')}`)

checkRequirements()
const images = prepareImages(options.images)
const work = mkdtempSync('/var/tmp/ocimount-bench-')
// What is mounted is known to this run alone.
process.env.OCIMOUNT_RUNTIME_DIR = join(work, 'run')
process.env.OCIMOUNT_DATA_DIR = join(work, 'data')
// Node.js would read these before anything else, which of a distribution's bundle takes 0.1 s at each start; nothing here speaks TLS.
delete process.env.NODE_EXTRA_CA_CERTS
const ocimount = new Ocimount(work)
process.on('exit', () => {
  for (const path of mountsBelow(work)) spawnSync('umount', ['-l', path], { stdio: 'ignore' })
  rmSync(work, { recursive: true, force: true })
})

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1))

const samples = new Samples()
for (const part of parts) PARTS[part]({ images, ocimount, samples, runs })

const processor = cpus()[0]?.model ?? 'CPU'
const results = {
  machine: `Linux ${release().split('-')[0]}, Node.js ${process.version}, ${availableParallelism()} × ${processor}`,
  runs,
  samples: samples.values,
}
console.log(`${describe(results)}\n\n${describeTargets(samples)}`)
if (options.json) writeFileSync(options.json, `${JSON.stringify(results, null, 2)}\n`)
if (options.readme) updateReadme(results)
