// What the figures are held against: each target is a value made of medians, and its limit.

import { LAZY_FORMS } from './lazy-forms.mjs'
import { megabytes, seconds, table, times } from './measure.mjs'

/** Gives { what, value, limit, format, isMet }; value is undefined where something was not measured. */
export function checkTargets(samples) {
  const list = []
  const add = (what, value, limit, format, isMet = value <= limit) =>
    list.push({ what, value, limit, format, isMet })
  const atMost = (what, name, other, limit) => add(what, samples.ratio(name, other), limit, times)
  const difference = (name, other) => samples.median(name) - samples.median(other)

  const gzip = 'mount.gzip-first-warm.wall'
  atMost('first mount, gzip, of a bare inflate', gzip, 'mount.inflate.wall', 1.2)
  const umoci = samples.ratio('mount.umoci.wall', 'mount.gzip-first-cold.wall')
  add('umoci unpack, of the first mount, gzip, both cold', umoci, 4, times, umoci >= 4)
  const above = difference('mount.plain-first-warm.wall', 'mount.floor.wall')
  add('first mount, uncompressed, above the floor', above, 0.35, seconds)
  const second = 'mount.plain-second.wall'
  atMost('second mount, uncompressed, of the floor', second, 'mount.floor.wall', 1.8)

  const first = 'run.first-cold.wall'
  for (const [name, what, limit] of [
    ['umoci', 'umoci unpack and the runtime, of the first run, cold', 12],
    ['podman', 'podman load and run, of the first run, cold', 4],
  ]) {
    const ratio = samples.ratio(`run.${name}.wall`, first)
    add(what, ratio, limit, times, ratio >= limit)
  }
  const own = difference('run.second.wall', 'run.runtime.wall')
  const floors = own / samples.median('run.floor.wall')
  add('second run without the runtime, of the floor', floors, 2.2, times)

  const read = (driver, task, state, other, limit) =>
    atMost(
      `${driver}: ${task}, ${state}, of ${other}`,
      `read.${driver}.${task}.${state}`,
      `read.${other}.${task}.${state}`,
      limit,
    )
  for (const task of ['find', 'tar', 'numpy']) {
    for (const state of ['cold', 'warm']) read('kernel', task, state, 'tree', 1)
  }
  read('fuse', 'find', 'cold', 'squashfuse', 1)
  read('fuse', 'find', 'warm', 'erofs', 1.3)
  read('fuse', 'read', 'cold', 'tree', 1.5)
  read('fuse', 'read', 'warm', 'tree', 1.15)
  read('fuse', 'numpy', 'cold', 'tree', 1.6)

  const readers = samples.ratio('readers.fuse', 'readers.fuse-native')
  add('fuse: 200 random readers, of fuse-native', readers, 5, times, readers >= 5)
  for (const driver of ['kernel', 'fuse']) {
    for (const which of ['first', 'second']) {
      const small = `memory.plain.${driver}.${which}.pss`
      add(`${driver}: memory of the server, ${which} mount`, samples.median(small), 90e6, megabytes)
      const more = difference(`memory.big.${driver}.${which}.pss`, small)
      add(`${driver}: more for 300,000 entries, ${which} mount`, more, 40e6, megabytes)
    }
  }
  atMost('kernel: page cache, of the archive', 'memory.cache.kernel', 'memory.plain.bytes', 3)
  atMost('kernel --direct: the same', 'memory.cache.direct', 'memory.plain.bytes', 2.1)
  for (const form of ['gzip', 'zstd']) {
    const [mount, download] = ['mount', 'download'].map((what) => `registry.${form}.${what}`)
    atMost(`first mount from a registry, ${form}, of the bare download`, mount, download, 1.1)
  }
  return [...list, ...lazyTargets(samples)]
}

/** Of the forms that are read in parts, in the same shape. */
function lazyTargets(samples) {
  return ['estargz', 'chunked'].flatMap((form) => {
    const of = (name) => `registry.${form}.${name}`
    const target = (what, value, limit, format) => {
      return { what: `${LAZY_FORMS[form]}: ${what}`, value, limit, format, isMet: value <= limit }
    }
    const ratio = (what, name, other, limit) =>
      target(what, samples.ratio(of(name), of(other)), limit, times)
    return [
      target('until it is mounted', samples.median(of('mount')), 1, seconds),
      ratio('until import numpy has answered, of skopeo copy', 'numpy', 'copy', 0.25),
      ratio('bytes by then, of skopeo copy', 'numpy.bytes', 'copy.bytes', 0.25),
      ratio('reading all of it, of skopeo copy and umoci unpack', 'read', 'unpack', 1.1),
      ratio(
        'requests on demand with a profile, of the first run',
        'demand.second',
        'demand.first',
        0.25,
      ),
    ]
  })
}

/** The targets of the measured parts, as a table. */
export function describeTargets(samples) {
  const rows = checkTargets(samples)
    .filter(({ value }) => value !== undefined && !Number.isNaN(value))
    .map(({ what, value, limit, format, isMet }) => [
      ...[what, format(value), format(limit), isMet ? 'met' : 'MISSED'],
    ])
  return table(['target', 'measured', 'limit', ''], rows)
}
