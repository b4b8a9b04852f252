// What was measured, as text for a terminal and for the README. Also a command, which measures nothing:
//
//   node scripts/bench/report.mjs RESULTS.json... [--readme]     prints the report; --readme puts it into the README
//
// Several results are those of parts that were measured one after the other on one machine.

import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { LAZY_FORMS } from './lazy-forms.mjs'
import { parseArgs } from 'node:util'
import { Samples, megabytes, seconds, table, times } from './measure.mjs'
import { draw } from './picture.mjs'
import { describeTargets } from './targets.mjs'

const MOUNTS = {
  floor: 'floor: Node.js starting itself once',
  inflate: 'floor: bare inflate of the gzip layers, one thread',
  umoci: 'umoci unpack, gzip, cold',
  'plain-first-warm': 'first mount, uncompressed',
  'plain-first-cold': 'first mount, uncompressed, cold',
  'gzip-first-warm': 'first mount, gzip',
  'gzip-first-cold': 'first mount, gzip, cold',
  'plain-second': 'second mount, uncompressed',
  'gzip-second': 'second mount, gzip',
  'big-index': 'index of a 300,000-entry tar',
}
/** Names in filesystems.mjs, without the Markdown. */
const FILESYSTEMS = {
  tree: 'extracted tree on the disk',
  kernel: '`kernel`',
  direct: '`kernel --direct`',
  fuse: '`fuse`',
  'fuse-native': '`fuse-native`',
  erofs: "the kernel's erofs, uncompressed",
  squashfs: "the kernel's squashfs, zstd",
  squashfuse: 'squashfuse_ll, zstd',
}
const RUNS = {
  runtime: 'the runtime alone, over a mounted bundle',
  'first-cold': 'first run, uncompressed, cold',
  second: 'second run, uncompressed',
  umoci: 'umoci unpack and the runtime, gzip, cold',
  podman: 'podman load and podman run, cold',
}
const PICTURE = '![The medians below as bars](scripts/bench/speed.svg)'
const TASKS = { find: 'find', tar: 'tar', read: 'cat', numpy: 'import numpy' }

/** Gives the Markdown of all that was measured. */
export function describe({ machine, runs, samples: values }) {
  const samples = new Samples(values)
  const parts = [mounts, running, registry, lazily, reading, readers, memory]
    .map((part) => part(samples))
    .filter(Boolean)
  return [`${machine}; medians of ${runs}.`, ...parts].join('\n\n')
}

function mounts(samples) {
  const median = (name) => samples.median(`mount.${name}`)
  if (median('floor.wall') === undefined) return undefined
  const rows = Object.entries(MOUNTS).map(([name, what]) => [
    what,
    seconds(median(`${name}.wall`)),
    seconds(median(`${name}.inside`)) ?? '',
    times(samples.ratio(`mount.${name}.wall`, 'mount.floor.wall')),
    times(samples.ratio('mount.umoci.wall', `mount.${name}.wall`)),
  ])
  const rss = megabytes(median('big-index.rss'))
  const header = ['Mounting', 'wall', 'inside the process', 'of the floor', 'umoci takes']
  return `${table(header, rows)}\n\nPeak memory of the 300,000-entry index: ${rss}.`
}

function registry(samples) {
  const rows = ['gzip', 'zstd'].map((form) => {
    const [mount, download] = ['mount', 'download'].map((what) => `registry.${form}.${what}`)
    return [
      form,
      ...[download, mount].map((name) => seconds(samples.median(name))),
      times(samples.ratio(mount, download)),
    ]
  })
  if (rows.every(([, bare]) => bare === undefined)) return undefined
  const header = [
    'From a registry, 100 Mbit/s and 20 ms',
    'bare download',
    'first mount',
    'of the download',
  ]
  return table(header, rows)
}

function lazily(samples) {
  const rows = Object.entries(LAZY_FORMS).map(([form, what]) => {
    const [copy, unpack, mount, numpy, read] = ['copy', 'unpack', 'mount', 'numpy', 'read'].map(
      (name) => seconds(samples.median(`registry.${form}.${name}`)),
    )
    const [bytes, all] = ['numpy.bytes', 'copy.bytes'].map((name) =>
      megabytes(samples.median(`registry.${form}.${name}`)),
    )
    return [what, mount, numpy && `${numpy}, ${bytes}`, copy && `${copy}, ${all}`, read, unpack]
  })
  if (rows.every(([, mount]) => mount === undefined)) return undefined
  const header = ['The same, read in parts', 'mounted', '`import numpy` has answered']
  return table([...header, 'skopeo copy', 'all read', 'skopeo copy, umoci unpack'], rows)
}

function running(samples) {
  const wall = (name) => samples.median(`run.${name}.wall`)
  const runtime = wall('runtime')
  if (runtime === undefined) return undefined
  const rows = Object.entries(RUNS).map(([name, what]) => [
    what,
    seconds(wall(name)),
    name === 'runtime' ? '' : seconds(wall(name) - runtime),
    times(samples.ratio(`run.${name}.wall`, 'run.first-cold.wall')),
  ])
  return table(
    ['`/bin/true` in a container', 'wall', 'without the runtime', 'of the first run'],
    rows,
  )
}

function reading(samples) {
  if (samples.median('read.tree.find.cold') === undefined) return undefined
  const rows = Object.entries(FILESYSTEMS).map(([name, what]) => [
    what,
    ...Object.keys(TASKS).map((task) => {
      const cell = ['cold', 'warm'].map((state) =>
        samples.median(`read.${name}.${task}.${state}`)?.toFixed(2),
      )
      return cell[0] && cell.join(' / ')
    }),
  ])
  const header = ['Reading, seconds cold / warm', ...Object.values(TASKS)]
  return [
    table(header, rows),
    "`find -printf '%s %m %p'`, `tar -cf -`, `cat` of all files, and Python in a chroot. Cold: mounted afresh, caches emptied.",
  ].join('\n\n')
}

function readers(samples) {
  const each = ['kernel', 'fuse', 'fuse-native'].map((driver) => {
    const rate = samples.median(`readers.${driver}`)
    return rate && `\`${driver}\` ${(rate / 1000).toFixed(1)}`
  })
  if (each.every((one) => one === undefined)) return undefined
  return `200 random 4 KiB readers at once, thousand reads a second: ${each.join(', ')}.`
}

function memory(samples) {
  const median = (name) => samples.median(`memory.${name}`)
  if (median('plain.bytes') === undefined) return undefined
  const pss = ['kernel', 'fuse'].map((driver) => {
    const [small, big] = ['plain', 'big'].map(
      (image) => megabytes(median(`${image}.${driver}.first.pss`)) ?? 'n/a',
    )
    return `\`${driver}\` ${small} (${big})`
  })
  const cache = ['kernel', 'direct', 'fuse'].map(
    (name) =>
      `${FILESYSTEMS[name]} ${times(samples.ratio(`memory.cache.${name}`, 'memory.plain.bytes')) ?? 'n/a'}`,
  )
  return [
    `Memory of the serving process after a first mount (of 300,000 entries): ${pss.join(', ')}.`,
    `Page cache after reading everything, of the archive's size: ${cache.join(', ')}.`,
  ].join(' ')
}

/** Puts the report between the README's marks, and draws the picture beside this file. */
export function updateReadme(results) {
  const readme = fileURLToPath(new URL('../../README.md', import.meta.url))
  const old = readFileSync(readme, 'utf8')
  const between = /(<!-- bench -->\n).*(\n<!-- \/bench -->)/s
  if (!between.test(old)) throw new Error('the README has no place for the figures')
  writeFileSync(
    readme,
    old.replace(between, (_, begin, end) => `${begin}\n${PICTURE}\n\n${describe(results)}\n${end}`),
  )
  writeFileSync(fileURLToPath(new URL('speed.svg', import.meta.url)), draw(results))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    options: { readme: { type: 'boolean', default: false } },
    allowPositionals: true,
  })
  const results = merge(positionals.map((path) => JSON.parse(readFileSync(path, 'utf8'))))
  console.log(`${describe(results)}\n\n${describeTargets(new Samples(results.samples))}`)
  if (values.readme) updateReadme(results)
}

function merge(all) {
  const [{ machine }] = all
  if (all.some((one) => one.machine !== machine)) throw new Error('the results are of two machines')
  const samples = {}
  for (const one of all) {
    for (const name of Object.keys(one.samples)) {
      if (name in samples) throw new Error(`${name} was measured twice`)
    }
    Object.assign(samples, one.samples)
  }
  return { machine, runs: [...new Set(all.map(({ runs }) => runs))].join(' or '), samples }
}
