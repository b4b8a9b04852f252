// The images that are measured, and the same tree in the forms that a user would pick instead. Made once, kept beside the
// Debian image, and made again when that is another one.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from './measure.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
/** Entries of the big image. */
export const BIG = 300_000

/** Gives the paths of everything there is to measure, making what is missing. */
export function prepareImages(debian) {
  const stdio = ['ignore', 'inherit', 'inherit']
  run(join(here, '../make-debian-image'), [debian], { stdio })
  run(process.execPath, [join(here, '../make-lazy-images.mjs'), debian], { stdio })
  const layout = join(debian, 'layout')
  const index = readFileSync(join(layout, 'index.json'))
  const key = createHash('sha256').update(index).digest('hex').slice(0, 16)
  const kept = join(dirname(debian), 'bench')
  const images = {
    plain: join(debian, 'app.docker.tar'),
    gzip: `oci:${layout}:app`,
    gzipLayers: layersOf(layout, JSON.parse(index)),
    layout,
    layouts: {
      ...{ gzip: layout, zstd: join(debian, 'zstd') },
      ...{ estargz: join(debian, 'estargz'), chunked: join(debian, 'chunked') },
    },
    tree: join(kept, 'unpacked/rootfs'),
    squashfs: join(kept, 'tree.squashfs'),
    erofs: join(kept, 'tree.erofs'),
    bigLayer: join(kept, 'big/layer.tar'),
    big: join(kept, 'big.docker.tar'),
    inflate: join(kept, 'inflate.node'),
    readers: join(kept, 'readers'),
  }
  const stamp = join(kept, `complete-1-${key}`)
  if (!existsSync(stamp)) {
    rmSync(kept, { recursive: true, force: true })
    mkdirSync(kept, { recursive: true })
    makeTrees(images, kept)
    makeBig(images)
    writeFileSync(stamp, '')
  }
  compile(images)
  return images
}

function layersOf(layout, index) {
  const blob = ({ digest }) => join(layout, 'blobs', digest.replace(':', '/'))
  const manifest = JSON.parse(readFileSync(blob(index.manifests[0]), 'utf8'))
  return manifest.layers.map(blob)
}

/** What umoci extracts, and the two read-only filesystems for images, made of it as their manuals have it. */
function makeTrees({ layout, tree, squashfs, erofs }, kept) {
  say('extracting the image, and packing it as squashfs and erofs')
  run('umoci', ['unpack', '--image', `${layout}:app`, join(kept, 'unpacked')])
  run('mksquashfs', [tree, squashfs, '-comp', 'zstd', '-quiet', '-no-progress'])
  run('mkfs.erofs', [erofs, tree])
}

/** A docker-archive of one layer with many small files. */
function makeBig({ big, bigLayer }) {
  say(`writing a tree of ${BIG} entries`)
  const directory = dirname(bigLayer)
  mkdirSync(directory)
  run(process.execPath, [join(here, 'make-big-tar.mjs'), bigLayer, String(BIG)])
  const [digest] = run('sha256sum', [bigLayer]).stdout.split(' ')
  const config = {
    architecture: { x64: 'amd64' }[process.arch] ?? process.arch,
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
  }
  const manifest = [
    { Config: 'config.json', RepoTags: ['example/big:latest'], Layers: ['layer.tar'] },
  ]
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
  writeFileSync(join(directory, 'manifest.json'), JSON.stringify(manifest))
  run('tar', ['-cf', big, '-C', directory, 'manifest.json', 'config.json', 'layer.tar'])
}

/** The two small programs: an addon, so that it inflates by the zlib of Node.js as we do, and the random readers. */
function compile({ inflate, readers }) {
  const headers = process.env.npm_config_nodedir ?? join(dirname(process.execPath), '..')
  const flags = ['-std=c++20', '-O2', '-Wall', '-Wextra', '-Werror']
  const programs = [
    [inflate, 'inflate.cc', ['-shared', '-fPIC', `-I${join(headers, 'include/node')}`]],
    [readers, 'readers.cc', ['-pthread']],
  ]
  for (const [output, name, more] of programs) {
    const source = join(here, name)
    const isFresh = existsSync(output) && statSync(output).mtimeMs > statSync(source).mtimeMs
    if (!isFresh) run('g++', [...flags, ...more, '-o', output, source])
  }
}

function say(text) {
  process.stderr.write(`bench: ${text}\n`)
}
