// What a user waits for where an image of a registry can be read in parts: until it is mounted, until a program of it has answered,
// until all of it was read; and what the registry has sent by then. Beside them, over the same link, the copy of the whole image
// by skopeo, and what umoci then takes to unpack it.
//
// Where the time goes, of eStargz on a machine that was busy:
//
//   mount           under a profiler, of 2.0 s of the serving process: 0.64 the tables of contents, 5.7 MB of JSON, most of it in code
//                   that is not compiled yet; 0.34 the tree; 0.1 loading undici; 0.3 what is waited for, in which manifest, config and
//                   tables come. What was tried and gained nothing: JSON.parse() of the entries, 64 kB at a time, and a comparison
//                   of what JSON.stringify() makes of them for strictness. Since then the addon reads and lays out the tables in other
//                   threads (src/layer/listed-table.ts), and zstd's decoder and undici load in 0.07 s less (scripts/bundle.mjs): of
//                   0.98 s of a faster machine, the command's start included, 0.27 until the server runs, 0.16 until the tables
//                   come, 0.18 reading them, 0.18 the union, 0.14 EROFS, 0.03 mounting. A field that holds small integers and then
//                   a number that the engine has as a double makes every object with it take 3 us at its next use: 0.05 s of
//                   placing 15,000 inodes (src/erofs/placement.ts). A young generation of 16 MiB from the beginning gains nothing.
//   import numpy    some 55 misses that follow one another, each 20 ms on the line and what it asked for; until each was answered by
//                   itself, and its piece made behind it, 28 ms more for 350 kB. Of the rest most is the processor's: unpacking zstd
//                   in WebAssembly that is not optimised yet took 1.4 s of a slow run under a profiler, SHA-256 0.5 s, collecting
//                   garbage 0.4 s. To fetch no more than 192 kB behind what was asked for, and the pieces when readers pause, made
//                   220 requests of 140 and gained nothing. A smaller read-ahead of the kernel gains nothing.
//   bytes           the chunks that are read are 16.1 MB (zstd:chunked: 9.7), 1.3 s of the line; the pieces of 1 MiB that they lie in
//                   26.7 (24.6), and 32 come. Pieces of 256 KiB, with files of one kind side by side, would be 20.9 (16.0).

import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run, sleep } from './measure.mjs'
import { TASKS } from './part-read.mjs'

const tell = fileURLToPath(new URL('run-and-count.mjs', import.meta.url))

/** Names of the forms, as people write them. */
export const LAZY_FORMS = { estargz: 'eStargz', chunked: 'zstd:chunked' }

/** `unpacked`: what skopeo and umoci get the same tree from; the umoci of Debian reads no zstd. */
export function measureLazyForm({ form, image, unpacked, server, ocimount, samples }) {
  const add = (what, value) => samples.add(`registry.${form}.${what}`, value)
  measureWhole({ image, unpacked, server, work: ocimount.work, add })

  const use = (options) => useMount({ image, server, ocimount, ...options })
  const bare = use({})
  add('mount', bare.wall)
  const first = use({ task: TASKS.numpy })
  add('numpy', first.wall)
  add('numpy.bytes', first.bytes)
  const second = use({ task: TASKS.numpy, profilesOf: first.cache })
  add('numpy.second', second.wall)
  // What mounting asks for is the same each time.
  add('demand.first', first.demandRequests - bare.demandRequests)
  add('demand.second', second.demandRequests - bare.demandRequests)
  const all = use({ task: TASKS.read })
  add('read', all.wall)
  for (const { cache } of [bare, first, second, all]) rmSync(cache, { recursive: true })
}

function measureWhole({ image, unpacked, server, work, add }) {
  const [target, bundle] = ['copy', 'unpacked'].map((name) => join(work, name))
  const copy = (from) => {
    const where = [`docker://${from}`, `oci:${target}:app`]
    const args = ['--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false', ...where]
    const before = sentBy(server)
    const { seconds } = run('skopeo', args)
    return { seconds, bytes: sentBy(server) - before }
  }
  const whole = copy(image)
  add('copy', whole.seconds)
  add('copy.bytes', whole.bytes)
  let { seconds } = whole
  if (unpacked !== image) {
    rmSync(target, { recursive: true })
    seconds = copy(unpacked).seconds
  }
  add('unpack', seconds + run('umoci', ['unpack', '--image', `${target}:app`, bundle]).seconds)
  for (const path of [target, bundle]) rmSync(path, { recursive: true })
}

/** Mounts with an empty cache, but for the profiles of another one, and does something there. Gives what it took until that was done. */
function useMount({ image, server, ocimount, task, profilesOf }) {
  const cache = ocimount.freshCache()
  if (profilesOf !== undefined) copyProfiles(profilesOf, cache)
  const before = sentBy(server)
  const { wall } = ocimount.mount(image, cache)
  const used = count(server, task, { cwd: ocimount.mountpoint })
  const { devices, pid } = ocimount.status()
  ocimount.umount()
  // Its last act is to keep the profile, which is kept after some seconds in any case: it stays as long as any namespace of the
  // machine that was made meanwhile has a copy of the mount.
  for (let tries = 0; existsSync(`/proc/${pid}`) && tries < 500; tries++) sleep(50)
  const demandRequests = devices.reduce((sum, device) => sum + (device.demandRequests ?? 0), 0)
  const seconds = task === undefined ? 0 : used.seconds
  return { cache, wall: wall + seconds, bytes: used.bytes - before, demandRequests }
}

/** What makes a directory a cache comes along: one that holds anything else is refused. */
function copyProfiles(from, to) {
  const profiles = readdirSync(join(from, 'layers')).map((layer) =>
    join('layers', layer, 'profile'),
  )
  for (const name of ['CACHEDIR.TAG', ...profiles]) {
    const [source, target] = [from, to].map((cache) => join(cache, name))
    if (!existsSync(source)) continue
    mkdirSync(dirname(target), { recursive: true, mode: 0o700 })
    cpSync(source, target)
  }
}

function sentBy(server) {
  return count(server).bytes
}

function count({ counts }, script, options) {
  const args = [tell, counts, ...(script === undefined ? [] : [script])]
  return JSON.parse(run(process.execPath, args, options).stdout)
}
